import assert from "node:assert/strict";
import { clear, drop, menu, newPage, register, row } from "../harness.mjs";

const trash = (page) => page.getByRole("link", { name: "Trash" });

/** Deletes all entries of a folder, which are these. */
async function deleteAll(page, names) {
  for (const name of names) await row(page, name).waitFor();
  await page.getByRole("checkbox", { name: "Select all" }).check();
  await page.getByRole("toolbar").getByRole("button", { name: "Delete" }).click();
  await page.getByText(`${names.length} items are in the trash`).waitFor();
}

export async function deletingCanBeUndone({ browser, url, username }) {
  const page = await newPage(browser);
  await register(page, url, username);
  await drop(page, { "a.txt": "a", Folder: { deep: { "b.txt": "b" } } });
  await clear(page);
  await deleteAll(page, ["a.txt", "Folder"]);
  await page.getByRole("heading", { name: "Nothing here yet" }).waitFor();
  await page.getByRole("button", { name: "Undo" }).click();
  await row(page, "a.txt").waitFor();
  await page.getByRole("link", { name: "Folder" }).click();
  await page.getByRole("link", { name: "deep" }).click();
  await row(page, "b.txt").waitFor();
  // The same by the keyboard, which goes on at the next row.
  await row(page, "b.txt").focus();
  await page.keyboard.press("Delete");
  await row(page, "b.txt").waitFor({ state: "detached" });
  await page.keyboard.press("Control+z");
  await row(page, "b.txt").waitFor();
  return page;
}

export async function whatWasDeletedIsRestored({ browser, url, username }) {
  const page = await newPage(browser);
  await register(page, url, username);
  await drop(page, { Folder: { "a.txt": "old" } });
  await clear(page);
  await page.getByRole("link", { name: "Folder" }).click();
  await menu(page, "a.txt", "Delete");
  await row(page, "a.txt").waitFor({ state: "detached" });
  // Its name is taken by now, so it is restored beside what has it.
  await drop(page, { "a.txt": "newer" });
  await clear(page);
  await trash(page).click();
  await page.getByText(/Kept until/).waitFor();
  await page.getByRole("button", { name: /Restore .*a\.txt/ }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText("Nothing is replaced").waitFor();
  await dialog.getByRole("button", { name: "Keep both" }).click();
  await page.getByRole("heading", { name: "The trash is empty" }).waitFor();
  await page.getByRole("button", { name: "Show" }).click();
  await row(page, "a (1).txt").getByText("3 B").waitFor();
  await row(page, "a.txt").getByText("5 B").waitFor();

  // The folder it was in is gone for good, and is made again.
  await menu(page, "a.txt", "Delete");
  await row(page, "a.txt").waitFor({ state: "detached" });
  await page.getByRole("link", { name: "Files", exact: true }).first().click();
  await menu(page, "Folder", "Delete");
  await row(page, "Folder").waitFor({ state: "detached" });
  await trash(page).click();
  await page.getByRole("button", { name: /Delete .*Folder.* for ever/ }).click();
  await page.getByRole("dialog").getByText("Everything in the folder").waitFor();
  await page.getByRole("dialog").getByRole("button", { name: "Delete for ever" }).click();
  await page
    .getByRole("button", { name: /Delete .*Folder.* for ever/ })
    .waitFor({ state: "detached" });
  await page.getByRole("button", { name: /Restore .*a\.txt/ }).click();
  await page.getByRole("button", { name: "Show" }).click();
  await row(page, "a.txt").waitFor();
  assert.equal(await row(page, "a (1).txt").count(), 0);
  return page;
}

export async function theTrashIsEmptied({ browser, url, username }) {
  const page = await newPage(browser);
  await register(page, url, username);
  await page.goto(`${url}/trash`);
  await page.getByRole("heading", { name: "The trash is empty" }).waitFor();
  await page.getByRole("link", { name: "Files", exact: true }).click();
  await page.getByRole("heading", { name: "Nothing here yet" }).waitFor();
  await drop(page, { "a.txt": "a".repeat(2_000), "b.txt": "b" });
  await clear(page);
  await deleteAll(page, ["a.txt", "b.txt"]);
  await trash(page).click();
  // Undone from another page.
  await page.getByRole("button", { name: /Restore .*a\.txt/ }).waitFor();
  await page.getByRole("button", { name: "Undo" }).click();
  await page.getByRole("heading", { name: "The trash is empty" }).waitFor();
  await page.getByRole("link", { name: "Files", exact: true }).click();
  await deleteAll(page, ["a.txt", "b.txt"]);
  await trash(page).click();
  await page.getByRole("button", { name: "Empty the trash" }).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").getByText("deleted for ever").waitFor();
  await page.getByRole("dialog").getByRole("button", { name: "Empty the trash" }).click();
  await page.getByRole("heading", { name: "The trash is empty" }).waitFor();
  assert.equal(await page.getByRole("button", { name: "Empty the trash" }).count(), 0);
  return page;
}
