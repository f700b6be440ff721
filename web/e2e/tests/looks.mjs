import assert from "node:assert/strict";
import {
  allDone,
  beginElsewhere,
  credentials,
  drop,
  newPage,
  register,
  slow,
  violations,
} from "../harness.mjs";

const PHONE = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true };

/** Every page and dialog, one after the other. */
async function tour(page, url, username, look) {
  await page.goto(`${url}/signin`);
  await page.getByLabel("Username").waitFor();
  await look("sign in");
  await page.goto(`${url}/register`);
  await look("register");
  await register(page, url, username);
  await look("empty folder");
  await drop(page, {
    "notes.txt": "text",
    Folder: { a: "b" },
    "a very long name that will not fit into the width of a phone at all.txt": "x",
  });
  await allDone(page);
  await look("folder with uploads");
  await drop(page, { "notes.txt": "other", Folder: { a: "c" } });
  await page.getByRole("heading", { name: "2 files need you" }).waitFor();
  await look("conflicts");
  await page.getByRole("button", { name: "Skip" }).first().click();
  await page.getByRole("button", { name: "Collapse uploads" }).click();
  await page.getByRole("checkbox", { name: /notes/ }).check();
  await look("selection");
  await page.getByRole("toolbar").getByRole("button", { name: "Move" }).click();
  await page.getByRole("dialog").getByText("Folder").waitFor();
  await look("move");
  await page.keyboard.press("Escape");
  await page.getByRole("toolbar").getByRole("button", { name: "Copy" }).click();
  await page.getByRole("button", { name: /Copy to .*Files/ }).waitFor();
  await look("copy");
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Clear selection" }).click();
  await page.getByRole("button", { name: /Actions for .*notes/ }).click();
  await look("menu");
  await page.getByRole("menuitem", { name: "Details" }).click();
  await look("details");
  await page.keyboard.press("Escape");
  await page.getByRole("grid").getByText("notes.txt").click();
  await page.getByRole("dialog").getByText("text").waitFor();
  await look("preview");
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "New folder" }).click();
  await page.getByRole("button", { name: "Create" }).click();
  await page.getByText("Enter a name.").waitFor();
  await look("new folder");
  await page.keyboard.press("Escape");
  await page.getByRole("searchbox").fill("a");
  await page.getByText(/ in .* and below contain/).waitFor();
  await look("search");
  await page.getByRole("searchbox").fill("");
  await page.getByRole("searchbox").waitFor();
  await page.goto(`${url}/trash`);
  await page.getByRole("heading", { name: "The trash is empty" }).waitFor();
  await look("empty trash");
  await page.getByRole("link", { name: "Files", exact: true }).click();
  await page.getByRole("button", { name: /Actions for .*a very long/ }).click();
  await page.getByRole("menuitem", { name: "Delete" }).click();
  await page.getByRole("button", { name: "Undo" }).waitFor();
  await look("undo");
  await page.goto(`${url}/trash`);
  await page.getByRole("button", { name: /^Restore/ }).waitFor();
  await look("trash");
  await page.goto(`${url}/account`);
  await page.getByText("This one").waitFor();
  await page.getByText("No tokens yet.").waitFor();
  await look("account");
  await page.goto(`${url}/uploads`);
  await page.getByRole("heading", { name: "No unfinished uploads" }).waitFor();
  await look("unfinished uploads");
  await beginElsewhere(url, username, "/videos/interrupted holiday.mp4", 300 << 20);
  await page.reload();
  await page.getByText("interrupted holiday.mp4").waitFor();
  await look("an unfinished upload");
  await page.getByRole("link", { name: "Files" }).click();
  await page.getByText("1 upload was interrupted.").waitFor();
  await slow(page, 1);
  const buffer = Buffer.alloc(12 << 20, username);
  const large = { name: "large.bin", mimeType: "application/octet-stream", buffer };
  await page.locator("[data-pick=files]").setInputFiles(large);
  await page.getByText(/Uploading · /).waitFor();
  await look("uploading");
  await page.getByRole("button", { name: /Cancel .*large/ }).click();
  await slow(page, -1);
  const headers = await credentials(url, username);
  await fetch(`${url}/api/v1/sessions`, { method: "DELETE", headers });
  await page.reload();
  await page.getByText("Your session has ended.").waitFor();
  await look("expired session");
  await page.getByLabel("Password", { exact: true }).fill("correct horse battery");
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await page.getByRole("grid").waitFor();
  await page.goto(`${url}/drive/not/there`);
  await page.getByRole("heading", { name: "This folder could not be loaded." }).waitFor();
  await look("missing folder");
}

async function withoutViolations({ browser, url, username }, options) {
  const page = await newPage(browser, options);
  const found = [];
  await tour(page, url, username, async (where) => {
    for (const one of await violations(page)) found.push({ where, ...one });
  });
  assert.deepEqual(found, [], JSON.stringify(found, null, 2));
  return page;
}

export const axeInTheLight = (stage) => withoutViolations(stage, { colorScheme: "light" });
export const axeInTheDark = (stage) => withoutViolations(stage, { colorScheme: "dark" });
export const axeOnAPhone = (stage) => withoutViolations(stage, PHONE);

export async function nothingIsWiderThanAPhone({ browser, url, username }) {
  const page = await newPage(browser, PHONE);
  const wide = [];
  await tour(page, url, username, async (where) => {
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    if (width > 360) wide.push(`${where}: ${width}`);
  });
  assert.deepEqual(wide, []);
  return page;
}

export async function nothingComesFromElsewhere({ browser, url, username }) {
  const page = await newPage(browser);
  const foreign = [];
  page.on("request", (request) => {
    const at = request.url();
    if (!at.startsWith(url) && !at.startsWith("blob:")) foreign.push(at);
  });
  await tour(page, url, username, async () => {});
  assert.deepEqual(foreign, []);
  return page;
}
