import { signal } from "@preact/signals";
import { useEffect, useMemo, useState } from "preact/hooks";
import type { Link } from "../../api/link";
import type { SharedEntry } from "../../api/types";
import { plain } from "../../app/format";
import { ticker } from "../../app/ticker";
import { t, tn } from "../../i18n";
import { send } from "../../upload/transport";
import { type Drop, placeIn } from "../../upload/tree";
import { Visit } from "../../upload/visit";
import { Icon } from "../parts/icons";
import { Name } from "../parts/name";
import { DropArea, PickButton } from "../parts/pick";
import { tell } from "../parts/toast";
import { UploadPanel } from "../uploads/panel";
import type { Look } from "./state";
import { Unlock } from "./unlock";
import { linkWords } from "./words";

/** A folder that takes files and shows nothing of what is in it. */
export function Inbox({ look, folder }: { look: Look; folder: SharedEntry }) {
  const { visit, tick } = useVisit(look.link);
  const [locked, setLocked] = useState(false);
  visit.onLocked = () => setLocked(true);
  const take = (drop: Drop) => {
    visit.add(drop.files.map(({ file, relative }) => ({ file, path: placeIn("/", relative) })));
    if (drop.unreadable.length > 0) tell(tn("drive.dropUnreadable", drop.unreadable.length), true);
    if (drop.emptyFolders.length > 0) tell(tn("link.emptyFolders", drop.emptyFolders.length), true);
  };
  const opened = () => {
    setLocked(false);
    visit.unlocked();
  };
  const gone = (problem: unknown) => {
    look.error.value = problem;
  };
  return (
    <div class="link-inbox">
      <DropArea text={t("drive.dropHere", { folder: plain(folder.name) })} onDrop={take} />
      {locked ? (
        <Unlock link={look.link} opened={opened} gone={gone} />
      ) : (
        <section class="card inbox" aria-labelledby="inbox-title">
          <Icon name="upload" />
          <h1 id="inbox-title">
            {t("link.addTo")} <Name name={folder.name} />
          </h1>
          <p class="muted">{t("link.addHint")}</p>
          <PickButton label={t("link.choose")} onPick={take} />
        </section>
      )}
      <UploadPanel queue={visit} tick={tick} words={linkWords} />
    </div>
  );
}

/** The queue lives as long as the page of the link, and keeps people from leaving too early. */
function useVisit(link: Link) {
  const made = useMemo(() => {
    const visit = new Visit(send, link);
    const tick = signal(0);
    visit.onChange = ticker(tick);
    return { visit, tick };
  }, [link]);
  const { visit } = made;
  useEffect(() => {
    const leaving = (event: Event) => {
      if (visit.busy) event.preventDefault();
    };
    const online = () => visit.gate.hurry();
    window.addEventListener("beforeunload", leaving);
    window.addEventListener("online", online);
    return () => {
      window.removeEventListener("beforeunload", leaving);
      window.removeEventListener("online", online);
      visit.all("pause");
    };
  }, [visit]);
  return made;
}
