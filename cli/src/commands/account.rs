//! `register`, `login`, `logout` and `whoami`.

use cloudstore_proto::http;

use super::Context;
use crate::{
    args::{LoginArgs, LogoutArgs, RegisterArgs},
    credentials::{Login, Store},
    error::{Error, Exit, Result},
    output::human_bytes,
    terminal,
};

pub(super) async fn register(context: &Context, args: RegisterArgs) -> Result<()> {
    let client = context.connect_anonymously()?;
    let username = terminal::username(args.username.as_deref()).await?;
    let password = terminal::password(args.password_stdin, true).await?;
    let RegisterArgs {
        email,
        display_name,
        ..
    } = args;
    let body = http::Register {
        username,
        password,
        email,
        display_name,
    };
    let account = client.register(&body).await.map_err(|error| {
        let what = format!("cannot register {}", body.username);
        explain_fields(error).during(what)
    })?;
    context.out.record(&account)?;
    context.out.report(format_args!(
        "registered {} at {}; now run `cloudstore login {}`",
        account.username,
        client.base(),
        account.username
    ))
}

/// The server says which field is wrong and why.
fn explain_fields(error: Error) -> Error {
    let errors = error
        .document()
        .and_then(|problem| problem.extensions.get("errors"));
    match errors {
        Some(errors) if error.slug() == Some("invalid-fields") => {
            let errors = errors.to_string();
            error.advise(format!("fix {errors}"))
        }
        _ => error,
    }
}

pub(super) async fn login(context: &Context, args: &LoginArgs) -> Result<()> {
    let client = context.connect_anonymously()?;
    let store = Store::open()?;
    let username = terminal::username(args.username.as_deref()).await?;
    let password = terminal::password(args.password_stdin, false).await?;
    let body = http::Login { username, password };
    let tokens = client.login(&body).await.map_err(|error| {
        let what = format!("cannot log in to {}", client.base());
        match error.exit() {
            Exit::AuthRequired => error.advise("check the username and the password"),
            _ => error,
        }
        .during(what)
    })?;
    let login = Login::new(client.base().as_str(), &body.username, tokens);
    store.lock().await?.put(&context.global.profile, &login)?;
    context.out.record(&serde_json::json!({
        "server": login.server, "username": login.username, "profile": context.global.profile,
    }))?;
    context.out.report(format_args!(
        "logged in to {} as {}",
        login.server, login.username
    ))
}

pub(super) async fn logout(context: &Context, args: &LogoutArgs) -> Result<()> {
    let client = context.connect()?;
    match client.logout(args.all).await {
        Ok(()) => {}
        // The session had ended already.
        Err(error) if error.exit() == Exit::AuthRequired && !args.all => {}
        Err(error) => return Err(error.during(format!("cannot log out of {}", client.base()))),
    }
    Store::open()?
        .lock()
        .await?
        .remove(&context.global.profile)?;
    context
        .out
        .record(&serde_json::json!({ "server": client.base().as_str(), "all": args.all }))?;
    context
        .out
        .report(format_args!("logged out of {}", client.base()))
}

pub(super) async fn whoami(context: &Context) -> Result<()> {
    let client = context.connect()?;
    let account = client.me().await?;
    context.out.record(&account)?;
    context
        .out
        .text(format_args!("{} at {}", account.username, client.base()))?;
    for (name, value) in [("name", &account.display_name), ("mail", &account.email)] {
        if !value.is_empty() {
            context.out.text(format_args!("{name}: {value}"))?;
        }
    }
    let (used, quota) = (
        human_bytes(account.used_bytes),
        human_bytes(account.quota_bytes),
    );
    let mut line = format!("used: {used} of {quota}");
    if account.reserved_bytes > 0 {
        let reserved = human_bytes(account.reserved_bytes);
        line.push_str(&format!(", {reserved} reserved by unfinished uploads"));
    }
    context.out.text(line)
}
