// Pictures of the main pages for a person to look at: light, dark, phone. They go to shots/.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  allDone,
  beginElsewhere,
  credentials,
  drop,
  menu,
  newPage,
  open,
  register,
  slow,
} from "./harness.mjs";

const shots = fileURLToPath(new URL("../shots", import.meta.url));
mkdirSync(shots, { recursive: true });

const LOOKS = {
  light: { colorScheme: "light", viewport: { width: 1280, height: 800 } },
  dark: { colorScheme: "dark", viewport: { width: 1280, height: 800 } },
  phone: {
    colorScheme: "light",
    viewport: { width: 390, height: 844 },
    hasTouch: true,
    isMobile: true,
  },
  "phone-dark": {
    colorScheme: "dark",
    viewport: { width: 390, height: 844 },
    hasTouch: true,
    isMobile: true,
  },
};

const TREE = {
  "Letter to the tax office.txt": "Dear Sir or Madam,\n\n".repeat(60),
  "holiday.svg": "<svg xmlns='http://www.w3.org/2000/svg'/>",
  "notes.md": "# Notes\n\nBuy milk.\n",
  "budget 2026.xlsx": "x".repeat(48_213),
  "<b>bold<b> & co.html": "<script>alert(1)</script>",
  "invoice\u202Efdp.exe": "MZ",
  "季度报告.pdf": "%PDF".repeat(4000),
  "talk.mp3": "x".repeat(812_000),
  Photos: Object.fromEntries(
    Array.from({ length: 40 }, (_, n) => [`IMG_${2000 + n}.jpg`, "x".repeat(1000 + n * 37)]),
  ),
  Music: { "song.flac": "x".repeat(30_000) },
  "A folder with a very long name that does not fit into any column of any reasonable width": {
    a: "a",
  },
};

/** The address of a new link. */
async function linkTo(user, body) {
  const headers = await credentials(stage.url, user);
  const request = { method: "POST", headers, body: JSON.stringify(body) };
  const answer = await (await fetch(`${stage.url}/api/v1/shares`, request)).json();
  return `${stage.url}${new URL(answer.url).pathname}`;
}

const stage = await open();
try {
  for (const [look, options] of Object.entries(LOOKS)) {
    const page = await newPage(stage.browser, options);
    const shot = async (name) => {
      await page.mouse.move(0, 0);
      await page.waitForTimeout(250);
      await page.screenshot({ path: join(shots, `${look}-${name}.png`) });
    };
    await page.goto(`${stage.url}/signin`);
    await page.getByLabel("Username").waitFor();
    await shot("signin");
    await register(page, stage.url, `shots-${look}`);
    await shot("empty");
    await drop(page, TREE);
    await allDone(page);
    await shot("uploaded");
    await page.getByRole("button", { name: "Clear finished" }).click();
    await page.getByRole("region", { name: "Uploads" }).waitFor({ state: "hidden" });
    await page.getByText("notes.md").waitFor();
    await shot("drive");
    await drop(page, { "notes.md": "changed", "holiday.svg": "changed" });
    await page.getByRole("heading", { name: "2 files need you" }).waitFor();
    await shot("conflict");
    await page.getByRole("button", { name: "Skip" }).first().click();
    await page.getByRole("button", { name: "Skip" }).first().click();
    await page.getByRole("button", { name: "Clear finished" }).click();
    await page.getByRole("region", { name: "Uploads" }).waitFor({ state: "hidden" });
    for (const name of ["notes.md", "talk.mp3"]) {
      await page.getByRole("checkbox", { name: new RegExp(name) }).check();
    }
    await shot("selected");
    await page.getByRole("toolbar").getByRole("button", { name: "Move" }).click();
    await page.getByRole("dialog").getByText("Photos").waitFor();
    await shot("move");
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: "Clear selection" }).click();
    const actions = page.getByRole("button", { name: /Actions for .*notes\.md/ });
    await actions.click();
    await shot("menu");
    await page.getByRole("menuitem", { name: "Details" }).click();
    await shot("details");
    await page.keyboard.press("Escape");
    await actions.click();
    await page.getByRole("menuitem", { name: "Share" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Create link" }).click();
    await page.getByRole("img", { name: "QR code of the link" }).waitFor();
    await shot("new-link");
    const link = new URL(await page.getByLabel("Link", { exact: true }).inputValue());
    await page.goto(`${stage.url}${link.pathname}`);
    await page.getByRole("heading", { name: "notes.md" }).waitFor();
    await shot("shared-file");
    const user = `shots-${look}`;
    await page.goto(await linkTo(user, { path: "/Photos" }));
    await page.getByText("IMG_2003.jpg").waitFor();
    await shot("shared-folder");
    await page.goto(await linkTo(user, { path: "/Music", password: "open sesame" }));
    await page.getByLabel("Password of the link").waitFor();
    await shot("shared-password");
    await page.goto(await linkTo(user, { path: "/Music", uploads: true }));
    await page.getByRole("heading", { name: "Music" }).waitFor();
    await shot("upload-link");
    await page.goto(`${stage.url}/shares`);
    await page.getByText("notes.md").waitFor();
    await shot("links");
    await page.goto(`${stage.url}/?q=a`);
    await page.getByText("song.flac").waitFor();
    await shot("search");
    await page.goto(stage.url);
    for (const name of ["talk.mp3", "Music"]) {
      await menu(page, name, "Delete");
      await page.getByRole("button", { name: "Undo" }).last().waitFor();
    }
    await shot("deleted");
    await page.goto(`${stage.url}/trash`);
    await page.getByText("talk.mp3").waitFor();
    await shot("trash");
    await page.goto(stage.url);
    await page.getByText("Letter to the tax office.txt").click();
    await page.getByRole("dialog").getByText("Dear Sir").waitFor();
    await shot("preview");
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: "New folder" }).click();
    await shot("new-folder");
    await page.keyboard.press("Escape");
    await page.goto(`${stage.url}/account`);
    await page.getByRole("heading", { name: "API tokens" }).waitFor();
    await page.waitForTimeout(300);
    await shot("account");
    await beginElsewhere(
      stage.url,
      `shots-${look}`,
      "/Videos/2026/wedding, uncut.mov",
      3 * 2 ** 30,
    );
    await beginElsewhere(stage.url, `shots-${look}`, "/backup.tar", 300 << 20);
    await page.goto(`${stage.url}/uploads`);
    await page.getByText("wedding, uncut.mov").waitFor();
    await shot("unfinished");
    await page.getByRole("link", { name: "Files" }).click();
    await slow(page, 2);
    const buffer = (size) => Buffer.alloc(size, `${look} ${size}`);
    const files = { "film.mov": 30 << 20, "archive.zip": 12 << 20, "readme.txt": 2_000 };
    await page.locator("[data-pick=files]").setInputFiles(
      Object.entries(files).map(([name, size]) => ({
        name,
        mimeType: "application/octet-stream",
        buffer: buffer(size),
      })),
    );
    await page.waitForTimeout(5_000);
    await shot("uploading");
    if (page.faults.length > 0) console.error(look, page.faults);
    await page.context().close();
    console.log(look);
  }
} finally {
  await stage.close();
}
