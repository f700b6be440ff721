import { useEffect, useState } from "preact/hooks";
import { t } from "../../i18n";
import { Icon } from "../parts/icons";
import type { Folder } from "./folder";

/** Milliseconds without a key before a search is sent. */
const TYPING = 250;

export function Search({ folder }: { folder: Folder }) {
  const [text, setText] = useState(folder.search.value);
  useEffect(() => setText(folder.search.value), [folder]);
  useEffect(() => {
    if (text === folder.search.value) return;
    const timer = setTimeout(() => folder.find(text), TYPING);
    return () => clearTimeout(timer);
  }, [text]);
  return (
    <search class="search">
      <Icon name="search" />
      <input
        type="search"
        data-search
        value={text}
        maxLength={80}
        placeholder={t("drive.search")}
        aria-label={t("drive.search")}
        onInput={(event) => setText(event.currentTarget.value)}
      />
    </search>
  );
}
