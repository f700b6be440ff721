import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { allDone, credentials, drop, newPage, register, slow, violations } from "../harness.mjs";

const PHONE = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true };
const SECRET = "open sesame, please";
const HOSTILE = "<img src=x onerror=alert(1)>\u202Egnp.exe";

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
const dialog = (page) => page.getByRole("dialog");
const row = (page, name) => page.getByRole("listitem").filter({ hasText: name });

async function owner({ browser, url, username }, tree, options) {
  const page = await newPage(browser, options);
  await register(page, url, username);
  await drop(page, tree);
  await allDone(page);
  await page.getByRole("button", { name: "Clear finished" }).click();
  return page;
}

async function openDialog(page, name) {
  await page.getByRole("button", { name: new RegExp(`Actions for .*${name}`) }).click();
  await page.getByRole("menuitem", { name: "Share" }).click();
  await dialog(page).getByRole("button", { name: "Create link" }).waitFor();
}

/** Makes the link and gives its address on the stage, which may not be what the server calls itself. */
async function createLink(page, url) {
  await dialog(page).getByRole("button", { name: "Create link" }).click();
  const link = await dialog(page).getByLabel("Link", { exact: true }).inputValue();
  assert.match(link, /\/s\/css_[\w-]{43}$/);
  await page.keyboard.press("Escape");
  await dialog(page).waitFor({ state: "hidden" });
  return `${url}${new URL(link).pathname}`;
}

async function share(page, url, name, { password = "", downloads = "", uploads = false } = {}) {
  await openDialog(page, name);
  if (uploads)
    await dialog(page)
      .getByRole("radio", { name: /Let others add files/ })
      .check();
  if (password) await dialog(page).getByLabel("Password", { exact: false }).first().fill(password);
  if (downloads) await dialog(page).getByLabel("Downloads at most").fill(downloads);
  return createLink(page, url);
}

/** Somebody else, who has nothing but the link. */
async function visit(browser, link, options) {
  const page = await newPage(browser, options);
  await page.goto(link);
  return page;
}

async function unlock(page, password) {
  await page.getByLabel("Password of the link").fill(password);
  await page.getByRole("button", { name: "Open" }).click();
}

async function saved(page, button) {
  const coming = page.waitForEvent("download");
  await button.click();
  const download = await coming;
  return { name: download.suggestedFilename(), bytes: await readFile(await download.path()) };
}

export async function aFolderBehindAPassword(stage) {
  const { browser, url, username } = stage;
  const content = `content of ${username}`.repeat(2_000);
  const tree = { Photos: { "a.txt": content, deep: { "b.txt": "below", [HOSTILE]: "MZ" } } };
  const page = await owner(stage, tree);
  const link = await share(page, url, "Photos", { password: SECRET });

  const visitor = await visit(browser, link);
  await unlock(visitor, "wrong password");
  await visitor.getByText("The password is wrong.").waitFor();
  assert.equal(await visitor.getByText("a.txt").count(), 0);
  await unlock(visitor, SECRET);
  await visitor.getByRole("heading", { name: "Photos" }).waitFor();
  assert.equal(await visitor.getByRole("navigation", { name: "Main" }).count(), 0);
  const one = await saved(visitor, visitor.getByRole("button", { name: /Download .*a\.txt/ }));
  assert.deepEqual([one.name, sha256(one.bytes)], ["a.txt", sha256(content)]);

  await visitor.getByRole("link", { name: "deep" }).click();
  await visitor.getByRole("button", { name: "b.txt", exact: true }).click();
  await dialog(visitor).getByText("below").waitFor();
  await visitor.keyboard.press("Escape");
  await visitor.getByText("U+202E").waitFor();
  assert.equal(await visitor.locator("img").count(), 0);
  await visitor.getByRole("navigation").getByRole("link", { name: "Photos" }).click();
  await row(visitor, "a.txt").waitFor();
  await visitor.goBack();
  await row(visitor, "b.txt").waitFor();

  // Who told the password is not asked again; others are.
  await visitor.reload();
  await row(visitor, "b.txt").waitFor();
  const other = await visit(browser, link);
  await other.getByRole("heading", { name: "This link has a password" }).waitFor();

  await page.getByRole("link", { name: "Links" }).click();
  await page.getByText("Shows the folder · with a password").waitFor();
  await page.getByRole("button", { name: /Revoke the link to .*Photos/ }).click();
  await dialog(page).getByRole("button", { name: "Revoke" }).click();
  await page.getByRole("heading", { name: "No links yet" }).waitFor();
  await visitor.goto(link);
  await visitor.reload();
  await visitor.getByRole("heading", { name: "This link opens nothing" }).waitFor();
  assert.deepEqual([...visitor.faults, ...other.faults], []);
  return page;
}

export async function aFolderAsAZip(stage) {
  const { browser, url, username } = stage;
  const page = await owner(stage, { Box: { "a.txt": `zip of ${username}`, d: { "b.txt": "b" } } });
  const link = await share(page, url, "Box");
  const token = link.split("/").at(-1);
  const visitor = await visit(browser, link);
  await visitor.getByRole("heading", { name: "Box" }).waitFor();
  const all = visitor.getByRole("button", { name: "Download all (zip)" });
  const answer = await fetch(`${url}/api/v1/public/shares/${token}/archive`, { method: "HEAD" });
  if (!answer.ok) {
    console.log("      this server makes no archives of shares");
    assert.equal(await all.count(), 0, "what is not there is not offered");
    return visitor;
  }
  const { name, bytes } = await saved(visitor, all);
  assert.equal(name, "Box.zip");
  assert.equal(bytes.subarray(0, 4).toString("latin1"), "PK\u0003\u0004");
  // Stored, not compressed.
  assert.ok(bytes.includes(`zip of ${username}`) && bytes.includes("Box/d/b.txt"));
  assert.deepEqual(visitor.faults, []);
  return page;
}

export async function aLimitIsCountedAndToldOf(stage) {
  const { browser, url } = stage;
  const page = await owner(stage, { "once.txt": "only once" });
  const link = await share(page, url, "once", { downloads: "1" });
  const visitor = await visit(browser, link);
  await visitor.getByText("1 download left").waitFor();
  await visitor.getByText("looking at the file counts as one").waitFor();
  const button = visitor.getByRole("button", { name: "Download", exact: true });
  const { bytes } = await saved(visitor, button);
  assert.equal(bytes.toString(), "only once");
  await visitor.getByText("no downloads left").waitFor();
  await button.click();
  await visitor.getByText("All downloads of this share are used up.").first().waitFor();
  await page.goto(`${url}/shares`);
  await page.getByText("all 1 downloads used up").waitFor();
  assert.deepEqual(visitor.faults, []);
  return page;
}

export async function visitorsAddFiles(stage) {
  const { browser, url, username, makeFile } = stage;
  const page = await owner(stage, { Inbox: { "hidden.txt": "not for visitors" } });
  const link = await share(page, url, "Inbox", { password: SECRET, uploads: true });
  const visitor = await visit(browser, link);
  await unlock(visitor, SECRET);
  await visitor.getByRole("heading", { name: /Add files to .*Inbox/ }).waitFor();
  assert.equal(await visitor.getByText("hidden.txt").count(), 0);
  const content = `from a visitor of ${username}`.repeat(1_000);
  await drop(visitor, { "letter.txt": content, "ordner ä": { "<b>.txt": "bold" }, nothing: "" });
  const large = makeFile("large.bin", 40);
  await visitor.locator("[data-pick=files]").setInputFiles(large);
  // What came before may be done already.
  await visitor.getByRole("region", { name: "Uploads" }).getByText("large.bin").first().waitFor();
  await allDone(visitor);
  // After a reload the cookie still shows the page, but uploads want the password told again.
  await visitor.reload();
  await visitor.getByRole("heading", { name: /Add files to .*Inbox/ }).waitFor();
  await drop(visitor, { "later.txt": "later" });
  await visitor.getByRole("heading", { name: "This link has a password" }).waitFor();
  await unlock(visitor, SECRET);
  await allDone(visitor);

  await page.getByRole("link", { name: "Inbox" }).click();
  await page.reload();
  for (const name of ["later.txt", "letter.txt", "large.bin", "nothing", "ordner ä"]) {
    await page.getByRole("row").filter({ hasText: name }).waitFor();
  }
  const { Authorization } = await credentials(url, username);
  const stored = async (path) => {
    const address = `${url}/api/v1/content${encodeURI(path)}`;
    const answer = await fetch(address, { headers: { Authorization } });
    return Buffer.from(await answer.arrayBuffer());
  };
  assert.equal(sha256(await stored("/Inbox/letter.txt")), sha256(content));
  assert.equal(sha256(await stored("/Inbox/large.bin")), sha256(await readFile(large)));
  assert.equal((await stored("/Inbox/ordner ä/<b>.txt")).toString(), "bold");
  assert.deepEqual(visitor.faults, []);
  return page;
}

export async function visitorsPauseResumeAndCancel(stage) {
  const { browser, url, makeFile } = stage;
  const page = await owner(stage, { Inbox: { "a.txt": "a" } });
  const link = await share(page, url, "Inbox", { uploads: true });
  const visitor = await visit(browser, link);
  await visitor.getByRole("heading", { name: /Add files to/ }).waitFor();
  await slow(visitor, 20);
  const files = [makeFile("kept.bin", 60), makeFile("dropped.bin", 60)];
  await visitor.locator("[data-pick=files]").setInputFiles(files);
  const item = (name) => visitor.locator("[data-state]").filter({ hasText: name });
  await item("kept.bin")
    .getByText(/Uploading · /)
    .waitFor();
  await item("kept.bin").getByRole("button", { name: /Pause/ }).click();
  await item("dropped.bin")
    .getByRole("button", { name: /Cancel/ })
    .click();
  await visitor.getByRole("heading", { name: "Uploads paused" }).waitFor();
  await slow(visitor, -1);
  await item("kept.bin")
    .getByRole("button", { name: /Resume/ })
    .click();
  await allDone(visitor);
  await page.getByRole("link", { name: "Inbox" }).click();
  await page.reload();
  await page.getByRole("row").filter({ hasText: "kept.bin" }).waitFor();
  assert.equal(await page.getByText("dropped.bin").count(), 0);
  assert.deepEqual(visitor.faults, []);
  return page;
}

export async function keyboardAlone(stage) {
  const page = await owner(stage, { "key.txt": "typed" });
  await page.getByRole("button", { name: /Actions for .*key/ }).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("menuitem", { name: "Share" }).focus();
  await page.keyboard.press("Enter");
  await dialog(page).getByLabel("Downloads at most").focus();
  await page.keyboard.type("0");
  await page.keyboard.press("Enter");
  await dialog(page).getByText("Enter a whole number").waitFor();
  await page.keyboard.press("Backspace");
  await page.keyboard.press("Enter");
  await dialog(page).getByText("Copy the link now").waitFor();
  await dialog(page).getByRole("img", { name: "QR code of the link" }).waitFor();
  await page.keyboard.press("Escape");
  await dialog(page).waitFor({ state: "hidden" });
  const focused = await page.evaluate(() => document.activeElement.getAttribute("aria-label"));
  assert.match(focused, /Actions for .*key/, "the focus returns to the menu's button");
  return page;
}

/** Every page and dialog about links, one after the other, as the owner and as a visitor. */
async function tour(stage, options, look) {
  const { browser, url } = stage;
  const tree = {
    Photos: { "a long name of a text file for phones.txt": "text", deep: { b: "b" } },
  };
  const page = await owner(stage, tree, options);
  await page.goto(`${url}/shares`);
  await page.getByRole("heading", { name: "No links yet" }).waitFor();
  await look(page, "no links");
  await page.goto(url);
  await openDialog(page, "Photos");
  await dialog(page).getByLabel("The link ends").selectOption("date");
  await dialog(page).getByLabel("Last day").fill("2001-01-01");
  await dialog(page).getByRole("button", { name: "Create link" }).click();
  await dialog(page).getByText("Choose a day that is not over").waitFor();
  await look(page, "share dialog");
  await dialog(page).getByLabel("The link ends").selectOption("7");
  await dialog(page).getByRole("button", { name: "Create link" }).click();
  await dialog(page).getByRole("img", { name: "QR code of the link" }).waitFor();
  await look(page, "new link");
  await page.keyboard.press("Escape");
  const open = await share(page, url, "Photos", { password: SECRET, downloads: "20" });
  await openDialog(page, "Photos");
  await dialog(page).getByText("Links that there are").waitFor();
  await look(page, "links of an entry");
  await page.keyboard.press("Escape");
  await page.goto(`${url}/shares`);
  await page.getByText("0 of 20 downloads").waitFor();
  await look(page, "links");

  const visitor = await visit(browser, open, options);
  await visitor.getByRole("heading", { name: "This link has a password" }).waitFor();
  await unlock(visitor, "wrong password");
  await visitor.getByText("The password is wrong.").waitFor();
  await look(visitor, "locked");
  await unlock(visitor, SECRET);
  await row(visitor, "deep").waitFor();
  await look(visitor, "shared folder");
  await visitor.getByRole("button", { name: /^.?a long name.*txt.?$/ }).click();
  await dialog(visitor).getByRole("button", { name: "Preview" }).click();
  await dialog(visitor).locator("pre").waitFor();
  await look(visitor, "preview");
  await visitor.keyboard.press("Escape");
  await visitor.getByRole("link", { name: "deep" }).click();
  await row(visitor, "b").first().waitFor();
  await look(visitor, "folder below");
  await visitor.goto(`${open}#/deep/b`);
  await visitor.getByRole("heading", { name: "b", exact: true }).waitFor();
  await look(visitor, "shared file");
  await visitor.goto(`${open}#/not/there`);
  await visitor.getByRole("heading", { name: "There is nothing here" }).waitFor();
  await look(visitor, "missing");
  await visitor.goto(`${url}/s/css_${"x".repeat(43)}`);
  await visitor.getByRole("heading", { name: "This link opens nothing" }).waitFor();
  await look(visitor, "gone");
  await page.goto(url);
  const inbox = await share(page, url, "Photos", { uploads: true });
  await visitor.goto(inbox);
  await visitor.getByRole("heading", { name: /Add files to/ }).waitFor();
  await drop(visitor, { "one.txt": "1" });
  await allDone(visitor);
  await look(visitor, "inbox");
  assert.deepEqual(visitor.faults, []);
  return page;
}

async function withoutViolations(stage, options) {
  const found = [];
  const page = await tour(stage, options, async (at, where) => {
    for (const one of await violations(at)) found.push({ where, ...one });
    const [width, room] = await at.evaluate(() => [
      document.documentElement.scrollWidth,
      document.documentElement.clientWidth,
    ]);
    if (width > room) found.push({ where, id: `${width} wide of ${room}` });
  });
  assert.deepEqual(found, [], JSON.stringify(found, null, 2));
  return page;
}

export const axeInTheLight = (stage) => withoutViolations(stage, { colorScheme: "light" });
export const axeInTheDark = (stage) => withoutViolations(stage, { colorScheme: "dark" });
export const axeOnAPhone = (stage) => withoutViolations(stage, PHONE);
