//! The web app is embedded as `npm run build` in `web/` has left it; nothing is built here. A build
//! without it is complete, and says so to browsers.

fn main() {
    println!("cargo:rerun-if-changed=../web/dist");
}
