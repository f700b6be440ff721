import { useEffect, useRef, useState } from "preact/hooks";
import { plain } from "../../app/format";
import { driveUrl, go, LONGEST_QUERY } from "../../app/router";
import { t, tn } from "../../i18n";
import { Icon } from "../parts/icons";
import { folderName } from "./actions";
import { type Folder, SEARCH_LIMIT } from "./folder";

/** Milliseconds without a key before a search is sent. */
const TYPING = 250;

interface Props {
  path: string;
  /** What is looked for: it is in the address, so that it can be kept, and left by going back. */
  query: string;
}

export function Search({ path, query }: Props) {
  const [text, setText] = useState(query);
  const sent = useRef(query);
  useEffect(() => {
    // The answer to what was typed here may come when more has been typed.
    if (query !== sent.current) setText(query);
    sent.current = query;
  }, [path, query]);
  const find = (wanted: string) => {
    if (wanted === sent.current) return;
    sent.current = wanted;
    // One step back leaves a search, however often it was changed.
    go(driveUrl(path, wanted), query !== "");
  };
  useEffect(() => {
    if (text === sent.current) return;
    const timer = setTimeout(() => find(text), TYPING);
    return () => clearTimeout(timer);
  }, [text]);
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Enter") return find(text);
    if (event.key !== "Escape" || text === "") return;
    event.preventDefault();
    setText("");
    find("");
  };
  return (
    <search class="search">
      <Icon name="search" />
      <input
        type="search"
        data-search
        value={text}
        maxLength={LONGEST_QUERY}
        placeholder={t("search.box")}
        aria-label={t("search.label", { folder: folderName(path) })}
        aria-keyshortcuts="/"
        onInput={(event) => setText(event.currentTarget.value)}
        onKeyDown={onKeyDown}
      />
    </search>
  );
}

/** What a search has found, in words; read out when it changes. */
export function Found({ folder }: { folder: Folder }) {
  const text = plain(folder.search.value);
  const count = folder.entries.value.length;
  const values = { text, folder: folderName(folder.path) };
  return (
    <p class="found-count muted" role="status">
      {folder.loading.value ? t("search.running") : tn("search.found", count, values)}
      {folder.isCutOff.value && ` ${tn("search.more", SEARCH_LIMIT)}`}
    </p>
  );
}
