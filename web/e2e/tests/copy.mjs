import assert from "node:assert/strict";
import { clear, drop, menu, newPage, register, row } from "../harness.mjs";

export async function copiesAndTheirConflicts({ browser, url, username }) {
  const page = await newPage(browser);
  await register(page, url, username);
  await drop(page, { "a.txt": "a", Folder: { "a.txt": "other" } });
  await clear(page);
  // Beside the original.
  await menu(page, "a.txt", "Copy");
  await page.getByRole("button", { name: /Copy to .*Files/ }).click();
  await row(page, "a (1).txt").waitFor();
  // Where the name is taken.
  const copyInto = async () => {
    await menu(page, "a\\.txt", "Copy");
    await page.getByRole("dialog").getByRole("button", { name: "Folder" }).click();
    await page.getByRole("button", { name: /Copy to .*Folder/ }).click();
    await page.getByRole("dialog").getByText("deletes it for good").waitFor();
  };
  await copyInto();
  await page.getByRole("dialog").getByRole("button", { name: "Keep both" }).click();
  await page.getByText(/is now in .*Folder/).waitFor();
  await copyInto();
  await page.getByRole("dialog").getByRole("button", { name: "Replace" }).click();
  await page.getByRole("link", { name: "Folder" }).click();
  await row(page, "a (1).txt").getByText("1 B").waitFor();
  await row(page, "a.txt").getByText("1 B").waitFor();
  return page;
}

export async function theClipboardCopiesAndMoves({ browser, url, username }) {
  const page = await newPage(browser);
  await register(page, url, username);
  await drop(page, { "a.txt": "a", "b.txt": "b", Folder: { "c.txt": "c" } });
  await clear(page);
  await row(page, "a.txt").focus();
  await page.keyboard.press("Control+c");
  await page.getByText("1 item is ready to be pasted").waitFor();
  await page.getByRole("link", { name: "Folder" }).click();
  await row(page, "c.txt").waitFor();
  await page.keyboard.press("Control+v");
  await row(page, "a.txt").waitFor();
  await page.goBack();
  await row(page, "a.txt").waitFor();
  await page.getByRole("checkbox", { name: /b\.txt/ }).check();
  await page.keyboard.press("Control+x");
  await page.getByRole("link", { name: "Folder" }).click();
  await row(page, "c.txt").waitFor();
  await page.getByRole("button", { name: "Paste 1 item here" }).click();
  await row(page, "b.txt").waitFor();
  assert.equal(await page.getByRole("button", { name: /^Paste/ }).count(), 0, "it was moved");
  await page.goBack();
  await row(page, "a.txt").waitFor();
  assert.equal(await row(page, "b.txt").count(), 0);
  return page;
}
