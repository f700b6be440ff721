import assert from "node:assert/strict";
import { allDone, clear, drop, menu, newPage, register, row, until } from "../harness.mjs";

export async function renameMoveAndDelete({ browser, url, username }) {
  const page = await newPage(browser);
  await register(page, url, username);
  await drop(page, { "a.txt": "a", "b.txt": "b" });
  await clear(page);
  await page.getByRole("button", { name: "New folder" }).click();
  await page.getByLabel("Name of the folder").fill("a/b");
  await page.getByRole("button", { name: "Create" }).click();
  await page.getByText("A name cannot contain “/”.").waitFor();
  await page.getByLabel("Name of the folder").fill("Archive");
  await page.getByRole("button", { name: "Create" }).click();
  await row(page, "Archive").waitFor();

  await menu(page, "a.txt", "Rename");
  await page.getByLabel("New name").fill("b.txt");
  await page.getByRole("button", { name: "Rename" }).click();
  await page.getByText("Another entry has this name.").waitFor();
  await page.getByLabel("New name").fill("c.txt");
  await page.getByRole("button", { name: "Rename" }).click();
  await row(page, "c.txt").waitFor();

  await menu(page, "c.txt", "Move");
  await page.getByRole("dialog").getByRole("button", { name: "Archive" }).click();
  await page.getByRole("button", { name: /Move to .*Archive/ }).click();
  await row(page, "c.txt").waitFor({ state: "detached" });
  await page.getByRole("link", { name: "Archive" }).click();
  await row(page, "c.txt").waitFor();
  await page.goBack();

  await row(page, "b.txt").waitFor();
  await page.getByRole("checkbox", { name: "Select all" }).check();
  await page.getByRole("toolbar").getByRole("button", { name: "Delete" }).click();
  await page.getByText("2 items are in the trash").waitFor();
  await page.getByRole("heading", { name: "Nothing here yet" }).waitFor();
  return page;
}

export async function keyboardAlone({ browser, url, username }) {
  const page = await newPage(browser);
  await register(page, url, username);
  // Upload.
  await page.getByRole("button", { name: "Upload" }).focus();
  await page.keyboard.press("Enter");
  const chooser = page.waitForEvent("filechooser");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowUp");
  await page.keyboard.press("Enter");
  const buffer = Buffer.from("typed");
  const one = { name: "one.txt", mimeType: "text/plain", buffer };
  await (await chooser).setFiles([one, { ...one, name: "two.txt", buffer: Buffer.from("2") }]);
  await allDone(page);
  await page.getByRole("button", { name: "Clear finished" }).focus();
  await page.keyboard.press("Enter");
  // From the head of the list into its rows.
  await row(page, "two.txt").waitFor();
  await page.getByRole("button", { name: "Sort by Changed" }).focus();
  await page.keyboard.press("Tab");
  await page.keyboard.press("ArrowDown");
  const focused = () => page.evaluate(() => document.activeElement.textContent);
  assert.match(await focused(), /two\.txt/);
  await page.keyboard.press(" ");
  assert.equal(await page.getByRole("row", { selected: true }).count(), 1);
  await page.keyboard.press("Escape");
  await page.keyboard.press("F2");
  await page.getByLabel("New name").waitFor();
  // It has the focus, and the name without what comes after its dot is selected.
  await page.waitForFunction((end) => document.activeElement.selectionEnd === end, "two".length);
  await page.keyboard.type("renamed");
  await page.keyboard.press("Enter");
  await row(page, "renamed.txt").waitFor();
  await row(page, "renamed.txt").focus();
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").getByText("2").first().waitFor();
  await page.keyboard.press("Escape");
  assert.match(await focused(), /renamed\.txt/, "the focus returns to the row");
  await page.keyboard.press("Delete");
  await row(page, "renamed.txt").waitFor({ state: "detached" });
  await page.waitForFunction(() => document.activeElement?.textContent.includes("one.txt"));
  return page;
}

export async function hostileNamesAreText({ browser, url, username }) {
  const page = await newPage(browser);
  await register(page, url, username);
  const names = [
    "<img src=x onerror=alert(1)>.txt",
    "safe\u202Egnp.exe",
    "\u{1F4A9}".repeat(60),
    "..%2f..%2fetc",
    "a&amp;b?c#d.txt",
  ];
  await drop(page, Object.fromEntries(names.map((name) => [name, name])));
  await clear(page);
  assert.equal(await page.locator("img").count(), 0);
  await page.getByText("U+202E").first().waitFor();
  for (const name of names) {
    const found = page.locator(`bdi[title=${JSON.stringify(name)}]`);
    await found.waitFor();
    await found.click();
    await page.getByRole("dialog").waitFor();
    await page.keyboard.press("Escape");
  }
  await page.getByRole("searchbox").fill("amp;");
  await page.waitForFunction(() => document.querySelectorAll(".row:not(.head)").length === 1);
  return page;
}

export async function uploadedPagesNeverRun({ browser, url, username }) {
  const page = await newPage(browser);
  await register(page, url, username);
  const script = "<script>top.document.title = document.title = 'owned'</script>";
  await drop(page, { "evil.html": script, "evil.svg": `<svg xmlns="x">${script}</svg>` });
  await clear(page);
  for (const name of ["evil.html", "evil.svg"]) {
    await row(page, name).click();
    await page.getByRole("dialog").getByText("owned").waitFor();
    await page.keyboard.press("Escape");
  }
  assert.equal(await page.title(), "cloudstore");
  return page;
}

export async function downloadsStreamToDisk({ browser, url, username, makeFile, read }) {
  const page = await newPage(browser);
  await register(page, url, username);
  const path = makeFile("film.bin", 40);
  await page.locator("[data-pick=files]").setInputFiles(path);
  await clear(page);
  const coming = page.waitForEvent("download");
  await menu(page, "film.bin", "Download");
  const download = await coming;
  assert.equal(download.suggestedFilename(), "film.bin");
  const [a, b] = await Promise.all([hash(read(path)), hash(await download.createReadStream())]);
  assert.equal(a, b);
  return page;
}

async function hash(stream) {
  const { createHash } = await import("node:crypto");
  const hasher = createHash("sha256");
  for await (const piece of stream) hasher.update(piece);
  return hasher.digest("hex");
}

export async function picturesAndSoundAreShown({ browser, url, username }) {
  const page = await newPage(browser);
  await register(page, url, username);
  const png = Buffer.from(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
    "base64",
  );
  const wav = Buffer.alloc(44 + 8_000);
  wav.write("RIFF", 0);
  wav.writeUInt32LE(36 + 8_000, 4);
  wav.write("WAVEfmt ", 8);
  wav.writeUInt32LE(16, 16);
  wav.writeUInt16LE(1, 20);
  wav.writeUInt16LE(1, 22);
  wav.writeUInt32LE(8_000, 24);
  wav.writeUInt32LE(8_000, 28);
  wav.writeUInt16LE(1, 32);
  wav.writeUInt16LE(8, 34);
  wav.write("data", 36);
  wav.writeUInt32LE(8_000, 40);
  await page.locator("[data-pick=files]").setInputFiles([
    { name: "dot.png", mimeType: "image/png", buffer: png },
    { name: "hum.wav", mimeType: "audio/wav", buffer: wav },
  ]);
  await clear(page);
  await row(page, "dot.png").click();
  await page.waitForFunction(() => document.querySelector("img.preview")?.naturalWidth === 1);
  await page.keyboard.press("Escape");
  await row(page, "hum.wav").click();
  await page.waitForFunction(() => document.querySelector("audio")?.duration === 1);
  await page.evaluate(() => {
    document.querySelector("audio").currentTime = 0.5;
  });
  await page.waitForFunction(() => document.querySelector("audio").currentTime >= 0.5);
  return page;
}

export async function thousandsOfEntriesStayQuick({ browser, url, username }) {
  const page = await newPage(browser);
  await register(page, url, username);
  const tree = Object.fromEntries(
    Array.from({ length: 12 }, (_, folder) => [
      `folder ${folder}`,
      Object.fromEntries(
        Array.from({ length: 100 }, (_, n) => [`f${n}.txt`, `${folder}/${n}/${username}`]),
      ),
    ]),
  );
  await page.evaluate(() => {
    globalThis.longest = 0;
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) {
        globalThis.longest = Math.max(globalThis.longest, entry.duration);
      }
    }).observe({ entryTypes: ["longtask"] });
  });
  const flat = Object.fromEntries(
    Array.from({ length: 1_500 }, (_, n) => [`n${n}`, `${n} of ${username}`]),
  );
  const started = Date.now();
  await drop(page, { tree, flat });
  await allDone(page, 300_000);
  const longest = await page.evaluate(() => Math.round(globalThis.longest));
  console.log(`      2,700 files in ${Date.now() - started} ms, longest task ${longest} ms`);
  await page.getByRole("link", { name: "flat" }).click();
  await page.getByRole("row").nth(5).waitFor();
  assert.ok((await page.getByRole("row").count()) < 80, "rows out of sight are not drawn");
  await until("the last row is drawn", async () => {
    await page.locator(".list .scroller").evaluate((box) => {
      box.scrollTop = box.scrollHeight;
    });
    return page.getByText("n999", { exact: true }).isVisible();
  });
  // The keyboard gets to rows that were not drawn a moment ago.
  await page.getByRole("row").nth(9).focus();
  await page.keyboard.press("Home");
  for (let press = 0; press < 5; press++) await page.keyboard.press("PageDown");
  await page.keyboard.press("End");
  await page.waitForFunction(() => document.activeElement?.textContent.startsWith("n999"));
  return page;
}
