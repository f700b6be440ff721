import { signal } from "@preact/signals";

export type Theme = "auto" | "light" | "dark";

const KEPT = "cloudstore.theme";
const kept = localStorage.getItem(KEPT);

export const theme = signal<Theme>(kept === "light" || kept === "dark" ? kept : "auto");

export function setTheme(wanted: Theme): void {
  theme.value = wanted;
  localStorage.setItem(KEPT, wanted);
  applyTheme();
}

export function applyTheme(): void {
  if (theme.value === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme.value;
}
