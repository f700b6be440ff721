import assert from "node:assert/strict";
import { clear, drop, menu, newPage, register, row } from "../harness.mjs";

const box = (page) => page.getByRole("searchbox");

export async function namesAreFoundBelowTheFolder({ browser, url, username }) {
  const page = await newPage(browser);
  await register(page, url, username);
  await drop(page, {
    a: { b: { c: { "Invoice 1.pdf": "1" } }, invoices: { "x.txt": "2" } },
    z: { "the INVOICE of z": "3", "other.txt": "4" },
  });
  await clear(page);
  await page.keyboard.press("/");
  await page.keyboard.type("invoice");
  await page.getByText(/^3 names in .* contain .*invoice/).waitFor();
  for (const name of ["Invoice 1.pdf", "invoices", "INVOICE of"]) await row(page, name).waitFor();
  assert.equal(new URL(page.url()).searchParams.get("q"), "invoice");

  // The address says it all.
  await page.reload();
  await row(page, "Invoice 1.pdf").waitFor();
  assert.equal(await box(page).inputValue(), "invoice");
  await row(page, "Invoice 1.pdf").getByRole("link", { name: "/a/b/c" }).click();
  await page.getByRole("heading", { name: "c", exact: true }).waitFor();
  await row(page, "Invoice 1.pdf").waitFor();
  assert.equal(await box(page).inputValue(), "");
  await page.goBack();
  await page.getByText(/^3 names/).waitFor();

  // The usual actions work on what was found.
  await menu(page, "INVOICE of", "Rename");
  await page.getByLabel("New name").fill("bill");
  await page.getByRole("button", { name: "Rename" }).click();
  await page.getByText(/^2 names/).waitFor();
  await menu(page, "Invoice 1", "Show in its folder");
  await page.getByRole("heading", { name: "c", exact: true }).waitFor();

  // Only below the folder that is shown.
  await page.goto(`${url}/drive/z?q=i`);
  await page.getByText(/^1 name in .*z.* contains/).waitFor();
  await row(page, "bill").waitFor();
  await box(page).focus();
  await page.keyboard.press("Escape");
  await row(page, "other.txt").waitFor();
  assert.equal(new URL(page.url()).search, "");
  await box(page).fill("nothing has this");
  await page.getByRole("heading", { name: /No name here or below/ }).waitFor();
  return page;
}

export async function lateAnswersAreIgnored({ browser, url, username }) {
  const page = await newPage(browser);
  await register(page, url, username);
  await drop(page, { "one.txt": "1", "only two.txt": "2" });
  await clear(page);
  let asked = 0;
  await page.route(/\/api\/v1\/search\?/, async (route) => {
    asked += 1;
    // The first answer comes long after the second.
    if (asked === 1) await new Promise((resolve) => setTimeout(resolve, 2_000));
    await route.continue().catch(() => {});
  });
  await box(page).fill("on");
  while (asked < 1) await page.waitForTimeout(50);
  await box(page).pressSequentially("l");
  await page.getByText(/^1 name in/).waitFor();
  await page.waitForTimeout(2_500);
  assert.equal(await row(page, "one.txt").count(), 0);
  await row(page, "only two.txt").waitFor();
  return page;
}
