/** What has to be forgotten when the account changes, by the parts that remember it. */
const forgets: (() => void)[] = [];

export function whenOver(forget: () => void): void {
  forgets.push(forget);
}

export function forgetAll(): void {
  for (const forget of forgets) forget();
}
