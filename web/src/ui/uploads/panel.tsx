import type { Signal } from "@preact/signals";
import { createContext } from "preact";
import { useContext, useState } from "preact/hooks";
import type { OnConflict } from "../../api/types";
import { bytes, duration, percent, plain } from "../../app/format";
import { type Key, t, tn } from "../../i18n";
import { nameOf } from "../../paths";
import { mayRetry } from "../../upload/engine";
import type { Item } from "../../upload/item";
import { accepts, isOver } from "../../upload/state";
import type { Totals } from "../../upload/totals";
import { Icon, type IconName } from "../parts/icons";
import { Name } from "../parts/name";
import { Progress } from "../parts/progress";
import { VirtualRows } from "../parts/virtual";

const ROW = 64;

/** What brings files to the server. */
export interface Queue {
  readonly items: Item[];
  readonly gate: { readonly away: boolean };
  totals(now: number): Totals;
  pause(item: Item): void;
  resume(item: Item): void;
  retry(item: Item): void;
  cancel(item: Item): void;
  all(action: "pause" | "resume" | "retry" | "cancel"): void;
  clear(): void;
  /** Only where names can be taken. */
  decide?(item: Item, rule: OnConflict | "skip", always: boolean): void;
}

interface Shown {
  queue: Queue;
  /** Counts what there is to show. */
  tick: Signal<number>;
  /** Errors in words for whoever looks at it. */
  words(error: unknown): string;
}

const Context = createContext<Shown | undefined>(undefined);

/**
 * The queue that the panel is about. It changes its items in place, because there may be thousands
 * of them: whoever shows one draws it anew at every tick.
 */
function useQueue(): Shown {
  const shown = useContext(Context);
  if (!shown) throw new Error("rows are shown in a panel only");
  void shown.tick.value;
  return shown;
}

/** What happens with the files on their way. It stays out of the way until there are some. */
export function UploadPanel(shown: Shown) {
  const { queue, tick } = shown;
  void tick.value;
  if (queue.items.length === 0) return null;
  return (
    <Context.Provider value={shown}>
      <Panel />
    </Context.Provider>
  );
}

function Panel() {
  const { queue } = useQueue();
  const [open, setOpen] = useState(true);
  const { items } = queue;
  const totals = queue.totals(performance.now());
  const label = t(open ? "upload.collapse" : "upload.expand");
  return (
    <section class={open ? "panel open" : "panel"} aria-label={t("upload.panel")}>
      <header>
        <div class="panel-title">
          <h2>{headline(totals)}</h2>
          <p class="muted">{summary(totals)}</p>
        </div>
        <button
          type="button"
          class="quiet square"
          aria-label={label}
          aria-expanded={open}
          onClick={() => setOpen(!open)}
        >
          <Icon name="down" class={open ? "" : "up"} />
        </button>
      </header>
      <Progress value={totals.sent} max={totals.bytes} label={t("upload.progress")} />
      {queue.gate.away && (
        <p class="banner" role="status">
          <Icon name="alert" />
          {t("upload.away")}
        </p>
      )}
      {open && (
        <>
          <VirtualRows
            count={items.length}
            rowHeight={ROW}
            wrap={(rows) => <ul aria-label={t("upload.list")}>{rows}</ul>}
          >
            {(index) => {
              const item = items[index];
              return item && <Row key={item.id} item={item} />;
            }}
          </VirtualRows>
          <Buttons totals={totals} />
        </>
      )}
      <p class="unseen" role="status">
        {totals.live === 0 && t("upload.announce", { done: totals.done, total: totals.items })}
      </p>
    </section>
  );
}

function headline({ live, failed, conflicts, paused, done }: Totals): string {
  if (live > 0) return tn("upload.working", live);
  if (failed + conflicts > 0) return tn("upload.needs", failed + conflicts);
  if (paused > 0) return t("upload.paused");
  return done > 0 ? tn("upload.finished", done) : t("upload.cancelledAll");
}

function summary({ sent, bytes: all, speed, eta, live, instant }: Totals): string {
  const parts: string[] = [];
  if (live > 0) parts.push(t("upload.of", { sent: bytes(sent), total: bytes(all) }));
  if (speed !== undefined) parts.push(t("upload.speed", { speed: bytes(speed) }));
  if (eta !== undefined) parts.push(t("upload.left", { time: duration(eta) }));
  if (live === 0) parts.push(bytes(all));
  if (live === 0 && instant > 0) parts.push(tn("upload.instantCount", instant));
  return parts.join(" · ");
}

function Buttons({ totals }: { totals: Totals }) {
  const { queue } = useQueue();
  const over = queue.items.some((item) => isOver(item.state));
  const retryable = queue.items.some((item) => item.state === "failed");
  return (
    <footer>
      {totals.live > 0 && <Do text="upload.pauseAll" run={() => queue.all("pause")} />}
      {totals.paused > 0 && <Do text="upload.resumeAll" run={() => queue.all("resume")} />}
      {retryable && <Do text="upload.retryAll" run={() => queue.all("retry")} />}
      {totals.live + totals.paused > 1 && (
        <Do text="upload.cancelAll" run={() => queue.all("cancel")} />
      )}
      {over && <Do text="upload.clear" run={() => queue.clear()} />}
    </footer>
  );
}

function Do({ text, run }: { text: Key; run(): void }) {
  return (
    <button type="button" class="quiet small" onClick={run}>
      {t(text)}
    </button>
  );
}

function Row({ item }: { item: Item }) {
  const { queue } = useQueue();
  const name = nameOf(item.path);
  const label = plain(name);
  const bar = item.state === "hashing" || item.state === "sending" || item.state === "finishing";
  return (
    <li class={`upload ${item.state}`} data-state={item.instant ? "instant" : item.state}>
      <Badge item={item} />
      <div class="upload-text">
        <Name name={name} />
        {item.state === "conflict" ? <Conflict item={item} /> : <Status item={item} />}
        {bar && (
          <Progress
            value={item.state === "hashing" ? item.hashed : item.sent}
            max={item.size}
            label={label}
            class={item.state}
          />
        )}
      </div>
      <div class="upload-buttons">
        {accepts(item.state, "pause") && (
          <Small
            icon="pause"
            label={t("upload.pause", { name: label })}
            run={() => queue.pause(item)}
          />
        )}
        {item.state === "paused" && (
          <Small
            icon="play"
            label={t("upload.resume", { name: label })}
            run={() => queue.resume(item)}
          />
        )}
        {item.state === "failed" && mayRetry(item.error) && (
          <Small
            icon="retry"
            label={t("upload.retry", { name: label })}
            run={() => queue.retry(item)}
          />
        )}
        {accepts(item.state, "cancel") && item.state !== "conflict" && (
          <Small
            icon="close"
            label={t("upload.cancel", { name: label })}
            run={() => queue.cancel(item)}
          />
        )}
      </div>
    </li>
  );
}

function Small({ icon, label, run }: { icon: IconName; label: string; run(): void }) {
  return (
    <button type="button" class="quiet square" aria-label={label} onClick={run}>
      <Icon name={icon} />
    </button>
  );
}

function Badge({ item }: { item: Item }) {
  useQueue();
  const icons: Partial<Record<Item["state"], IconName>> = {
    done: item.instant ? "bolt" : "check",
    failed: "alert",
    conflict: "alert",
    paused: "pause",
  };
  return <Icon name={icons[item.state] ?? "upload"} class="badge" />;
}

function Status({ item }: { item: Item }) {
  const { words } = useQueue();
  const parts: string[] = [];
  if (item.state === "failed") return <p class="field-error">{words(item.error)}</p>;
  parts.push(item.state === "done" && item.instant ? t("state.instant") : t(`state.${item.state}`));
  if (item.state === "sending") {
    parts.push(percent(item.sent, item.size));
    const speed = item.meter?.speed();
    const eta = item.meter?.eta(item.size - item.sent, performance.now());
    if (speed !== undefined) parts.push(t("upload.speed", { speed: bytes(speed) }));
    if (eta !== undefined) parts.push(t("upload.left", { time: duration(eta) }));
  } else parts.push(bytes(item.size));
  return <p class="muted">{parts.join(" · ")}</p>;
}

function Conflict({ item }: { item: Item }) {
  const { queue } = useQueue();
  const [all, setAll] = useState(false);
  const many = queue.items.filter((other) => other.state === "conflict").length > 1;
  return (
    <div class="conflict">
      <span class="unseen">{t("conflict.text")}</span>
      {(["replace", "rename", "skip"] as const).map((rule) => (
        <button
          type="button"
          class="small"
          key={rule}
          onClick={() => queue.decide?.(item, rule, all)}
        >
          {t(`conflict.${rule}`)}
        </button>
      ))}
      {many && (
        <label>
          <input type="checkbox" checked={all} onChange={() => setAll(!all)} />
          {t("conflict.all")}
        </label>
      )}
    </div>
  );
}
