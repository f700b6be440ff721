import assert from "node:assert/strict";
import { credentials, newPage, register, until } from "../harness.mjs";

export async function registerSignOutAndIn({ browser, url, username }) {
  const page = await newPage(browser);
  await register(page, url, username);
  await page.getByRole("link", { name: "Account" }).click();
  await page.getByRole("button", { name: "Sign out", exact: true }).click();
  await page.getByLabel("Username").fill(username);
  await page.getByLabel("Password", { exact: true }).fill("wrong password");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByText("The username or the password is wrong.").waitFor();
  await page.getByLabel("Password", { exact: true }).fill("correct horse battery");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("heading", { name: "Nothing here yet" }).waitFor();
  await page.reload();
  await page.getByRole("heading", { name: "Nothing here yet" }).waitFor();
  return page;
}

export async function takenNamesAndShortPasswordsAreExplained({ browser, url, username }) {
  const page = await newPage(browser);
  await register(page, url, username);
  const other = await newPage(browser);
  await other.goto(`${url}/register`);
  await other.getByLabel("Username").fill(username);
  await other.getByLabel("Password", { exact: true }).fill("short");
  await other.getByRole("button", { name: "Create account" }).click();
  await other.getByText("must have 8 to 1024 bytes").waitFor();
  await other.getByLabel("Password", { exact: true }).fill("long enough");
  await other.getByRole("button", { name: "Create account" }).click();
  await other.getByText("This username is taken.").waitFor();
  return other;
}

export async function tokensAreShownOnceAndRevoked({ browser, url, username }) {
  const page = await newPage(browser);
  await register(page, url, username);
  await page.goto(`${url}/account`);
  await page.getByLabel("What it is for").fill("camera \u202Eelif");
  await page.getByRole("button", { name: "Create token" }).click();
  const secret = (await page.locator(".secret code").textContent()).replace(/^New token:\s*/, "");
  const me = () => fetch(`${url}/api/v1/me`, { headers: { Authorization: `Bearer ${secret}` } });
  assert.equal((await me()).status, 200);
  await page.getByRole("button", { name: /^Revoke/ }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Revoke" }).click();
  await page.getByText("No tokens yet.").waitFor();
  // Every instance copies what was revoked, once a second.
  await until("the token is refused", async () => (await me()).status === 401);
  return page;
}

export async function passwordChangeNeedsTheOldOne({ browser, url, username }) {
  const page = await newPage(browser);
  await register(page, url, username);
  await page.goto(`${url}/account`);
  await page.getByLabel("Current password").fill("not this one");
  await page.getByLabel("New password").fill("another long one");
  await page.getByRole("button", { name: "Change password" }).click();
  await page.getByText("The current password is wrong.").waitFor();
  await page.getByLabel("Current password").fill("correct horse battery");
  await page.getByRole("button", { name: "Change password" }).click();
  await page.getByText("Password changed.").waitFor();
  return page;
}

export async function anEndedSessionReturnsToSignInAndGoesOn({ browser, url, username }) {
  const page = await newPage(browser);
  await register(page, url, username);
  // Somebody signs out everywhere; the token in the page's memory goes with the reload.
  const headers = await credentials(url, username);
  await fetch(`${url}/api/v1/sessions`, { method: "DELETE", headers });
  await page.reload();
  await page.getByText("Your session has ended.").waitFor();
  await page.getByLabel("Password", { exact: true }).fill("correct horse battery");
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await page.getByRole("heading", { name: "Nothing here yet" }).waitFor();
  return page;
}

export async function chineseIsComplete({ browser, url, username }) {
  const page = await newPage(browser);
  await register(page, url, username);
  await page.goto(`${url}/account`);
  await page.getByLabel("Language").selectOption("zh");
  await page.getByRole("heading", { name: "账户" }).waitFor();
  await page.reload();
  await page.getByRole("heading", { name: "账户" }).waitFor();
  assert.equal(await page.evaluate(() => document.documentElement.lang), "zh");
  return page;
}

export async function tabsShareTheSession({ browser, url, username }) {
  const page = await newPage(browser);
  await register(page, url, username);
  const other = await page.context().newPage();
  await other.goto(url);
  await other.getByRole("heading", { name: "Nothing here yet" }).waitFor();
  // Both have exchanged the one refresh token, one after the other, and both still work.
  await page.reload();
  await other.reload();
  await page.reload();
  await page.getByRole("heading", { name: "Nothing here yet" }).waitFor();
  await other.getByRole("link", { name: "Account" }).click();
  await other.getByRole("button", { name: "Sign out", exact: true }).click();
  await other.getByRole("heading", { name: "Sign in" }).waitFor();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  return page;
}

export async function anotherSessionIsListedAndEnded({ browser, url, username }) {
  const page = await newPage(browser);
  await register(page, url, username);
  const userAgent =
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0";
  const other = await newPage(browser, { userAgent });
  await other.goto(`${url}/signin`);
  await other.getByLabel("Username").fill(username);
  await other.getByLabel("Password", { exact: true }).fill("correct horse battery");
  await other.getByRole("button", { name: "Sign in" }).click();
  await other.getByRole("heading", { name: "Nothing here yet" }).waitFor();
  await page.goto(`${url}/account`);
  const sessions = page.getByRole("region", { name: "Signed in" });
  await sessions.getByText("Firefox on Windows").waitFor();
  assert.equal(await sessions.getByRole("listitem").count(), 2);
  assert.equal(await sessions.getByText("This one").count(), 1);
  await sessions.getByRole("button", { name: "Sign out Firefox on Windows" }).click();
  await page.getByText("Firefox on Windows is signed out").waitFor();
  await sessions.getByText("Firefox on Windows").waitFor({ state: "detached" });
  await other.reload();
  await other.getByText("Your session has ended.").waitFor();
  await page.reload();
  await sessions.getByText("This one").waitFor();
  return page;
}

export async function signingOutWithoutTheServerForgetsHere({ browser, url, username }) {
  const page = await newPage(browser);
  await register(page, url, username);
  await page.getByRole("link", { name: "Account" }).click();
  await page.route(/\/api\/v1\/sessions\/current/, (route) => route.abort());
  await page.getByRole("button", { name: "Sign out", exact: true }).click();
  await page.getByText("the server could not be told").waitFor();
  assert.equal(await page.evaluate(() => localStorage.getItem("cloudstore.session")), null);
  await page.reload();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  return page;
}

export async function aTabNeverGoesOnAsSomebodyElse({ browser, url, username }) {
  const page = await newPage(browser);
  await register(page, url, username);
  await register(await newPage(browser), url, `${username}-2`);
  const other = await page.context().newPage();
  await page.goto(`${url}/account`);
  await page.getByText(`${username}, here since`).waitFor();
  await other.goto(`${url}/account`);
  // It is told that it is nobody's any more before somebody else signs in.
  const anew = page.waitForEvent("load");
  await other.getByRole("button", { name: "Sign out", exact: true }).click();
  await anew;
  await other.getByLabel("Username").fill(`${username}-2`);
  await other.getByLabel("Password", { exact: true }).fill("correct horse battery");
  await other.getByRole("button", { name: "Sign in" }).click();
  await other.getByRole("heading", { name: "Nothing here yet" }).waitFor();
  // It begins anew, and shows nothing of the old account.
  await page.getByRole("heading", { name: "Nothing here yet" }).waitFor();
  await page.getByRole("link", { name: "Account" }).click();
  await page.getByText(`${username}-2, here since`).waitFor();
  return page;
}
