import assert from "node:assert/strict";
import { appendFileSync } from "node:fs";
import {
  allDone,
  arrived,
  countChunks,
  credentials,
  drop,
  newPage,
  register,
  slow,
  until,
} from "../harness.mjs";

const panel = (page) => page.getByRole("region", { name: "Uploads" });

export async function filesAndATreeArrive({ browser, url, username }) {
  const page = await newPage(browser);
  await register(page, url, username);
  await drop(page, {
    "top.txt": "top",
    album: { "one.txt": "1", deep: { "two.txt": "2", empty: {} } },
  });
  await allDone(page);
  await page.getByRole("link", { name: "album" }).click();
  await page.getByRole("link", { name: "deep" }).click();
  await page.getByRole("grid").getByText("two.txt").waitFor();
  await page.getByRole("link", { name: "empty" }).waitFor();
  return page;
}

export async function knownContentIsInstant({ browser, url, username }) {
  const page = await newPage(browser);
  await register(page, url, username);
  const content = `content of ${username}`.repeat(1_000);
  await drop(page, { "first.txt": content });
  await allDone(page);
  const other = await newPage(browser);
  await register(other, url, `${username}-2`);
  await drop(other, { "second.txt": content });
  await allDone(other);
  await other.getByText("Already on the server, nothing sent").waitFor();
  return other;
}

export async function resumeAfterAReload({ browser, url, username, makeFile }) {
  const page = await newPage(browser);
  page.on("dialog", (dialog) => dialog.accept());
  await register(page, url, username);
  const path = makeFile("large.bin", 160);
  // So slow that it is hashed long before the reload.
  await slow(page, 16);
  const before = countChunks(page);
  await page.locator("[data-pick=files]").setInputFiles(path);
  await panel(page)
    .getByText(/Uploading · /)
    .waitFor();
  await arrived(before, 6);
  await page.reload();
  const sent = before.count;
  await page.getByText("1 upload was interrupted.").waitFor();
  await slow(page, -1);
  const after = countChunks(page);
  await page.getByRole("link", { name: "Show" }).click();
  await page.locator("[data-pick=resume]").setInputFiles(path);
  await allDone(page);
  await page.waitForTimeout(200);
  const again = after.count;
  console.log(`      ${sent} of 20 chunks before the reload, ${again} after`);
  assert.ok(again <= 20 - sent, "nothing that was acknowledged is sent again");
  return page;
}

export async function aDroppedFileGoesOnWithoutBeingChosenAgain({ browser, url, username }) {
  const page = await newPage(browser);
  page.on("dialog", (dialog) => dialog.accept());
  await register(page, url, username);
  await slow(page, 20);
  const chunks = countChunks(page);
  // The browser's own file system has handles that need no permission.
  await page.evaluate(async () => {
    const folder = await navigator.storage.getDirectory();
    const handle = await folder.getFileHandle("dropped.bin", { create: true });
    const writer = await handle.createWritable();
    const block = crypto.getRandomValues(new Uint8Array(65_536));
    for (let index = 0; index < 80 * 16; index++) {
      block[index % block.length] += 1;
      await writer.write(block);
    }
    await writer.close();
    const file = await handle.getFile();
    const entry = { name: "dropped.bin", isFile: true, file: (resolve) => resolve(file) };
    const item = {
      kind: "file",
      webkitGetAsEntry: () => entry,
      getAsFileSystemHandle: async () => handle,
    };
    const event = new Event("drop", { bubbles: true, cancelable: true });
    event.dataTransfer = { types: ["Files"], items: [item] };
    window.dispatchEvent(event);
  });
  await arrived(chunks, 2);
  await page.goto(`${url}/uploads`);
  await slow(page, -1);
  await page.getByRole("button", { name: /Continue the upload of .*dropped/ }).click();
  await allDone(page);
  return page;
}

export async function theServerIsKilledAndComesBack({ browser, url, server, username, makeFile }) {
  // Somebody else's server is not ours to kill.
  if (!server) return undefined;
  const page = await newPage(browser);
  await register(page, url, username);
  const path = makeFile("survivor.bin", 160);
  await slow(page, 40);
  const chunks = countChunks(page);
  await page.locator("[data-pick=files]").setInputFiles(path);
  await arrived(chunks, 4);
  await server.kill();
  await panel(page).getByText("The server does not answer.").waitFor();
  await page.waitForTimeout(1_500);
  await server.start();
  await slow(page, -1);
  await allDone(page);
  return page;
}

export async function pauseResumeAndCancel({ browser, url, username, makeFile }) {
  const page = await newPage(browser);
  await register(page, url, username);
  await slow(page, 30);
  await page.locator("[data-pick=files]").setInputFiles(makeFile("paused.bin", 100));
  await panel(page)
    .getByText(/Uploading · /)
    .waitFor();
  await panel(page)
    .getByRole("button", { name: /Pause .*paused/ })
    .click();
  await panel(page).getByRole("heading", { name: "Uploads paused" }).waitFor();
  await slow(page, -1);
  await panel(page)
    .getByRole("button", { name: /Resume .*paused/ })
    .click();
  await allDone(page);
  await slow(page, 30);
  await page.locator("[data-pick=files]").setInputFiles(makeFile("cancelled.bin", 100));
  await panel(page)
    .getByText(/Uploading · /)
    .waitFor();
  await panel(page)
    .getByRole("button", { name: /Cancel .*cancelled/ })
    .click();
  await panel(page)
    .getByText(/^Cancelled · /)
    .waitFor();
  await page.getByRole("link", { name: "Unfinished uploads" }).click();
  await page.getByRole("heading", { name: "No unfinished uploads" }).waitFor();
  return page;
}

export async function aFileThatChangesIsNotKept({ browser, url, username, makeFile }) {
  const page = await newPage(browser);
  await register(page, url, username);
  const headers = await credentials(url, username);
  const uploads = async () => {
    const answer = await fetch(`${url}/api/v1/uploads`, { headers });
    return (await answer.json()).uploads.length;
  };
  const path = makeFile("changing.bin", 80);
  await slow(page, 20);
  const chunks = countChunks(page);
  await page.locator("[data-pick=files]").setInputFiles(path);
  await arrived(chunks, 2);
  assert.ok((await uploads()) > 0);
  appendFileSync(path, "more");
  await panel(page)
    .getByText(/cannot be read any more|changed while it was being uploaded/)
    .waitFor();
  await until("nothing of it is left", async () => (await uploads()) === 0);
  const there = await fetch(`${url}/api/v1/files/changing.bin`, { headers });
  assert.equal(there.status, 404);
  await slow(page, -1);
  await panel(page)
    .getByRole("button", { name: /Cancel .*changing/ })
    .click();
  await page.locator("[data-pick=files]").setInputFiles(path);
  await allDone(page);
  const file = await fetch(`${url}/api/v1/files/changing.bin`, { headers });
  assert.equal((await file.json()).size, (80 << 20) + 4);
  return page;
}

export async function conflictsAreDecided({ browser, url, username }) {
  const page = await newPage(browser);
  await register(page, url, username);
  await drop(page, { "a.txt": "1", "b.txt": "1" });
  await allDone(page);
  await drop(page, { "a.txt": "22", "b.txt": "333" });
  await panel(page).getByRole("button", { name: "Replace" }).first().click();
  await panel(page).getByRole("heading", { name: "1 file needs you" }).waitFor();
  await panel(page).getByRole("button", { name: "Keep both" }).click();
  await allDone(page);
  await page.getByRole("grid").getByText("b (1).txt").waitFor();
  await page.getByRole("row").filter({ hasText: "a.txt" }).getByText("2 B").waitFor();
  return page;
}

export async function leavingWithWorkInFlightAsks({ browser, url, username, makeFile }) {
  const page = await newPage(browser);
  await register(page, url, username);
  await slow(page, 10);
  await page.locator("[data-pick=files]").setInputFiles(makeFile("leaving.bin", 40));
  await panel(page)
    .getByText(/Uploading · /)
    .waitFor();
  // Browsers only ask people who have done something on the page.
  await page.getByRole("searchbox").click();
  const asked = new Promise((resolve) => {
    page.on("dialog", async (dialog) => {
      resolve(dialog.type());
      await dialog.accept();
    });
  });
  await page.close({ runBeforeUnload: true });
  assert.equal(await asked, "beforeunload");
  return page;
}
