import { useState } from "preact/hooks";
import { bytes, duration, percent, plain } from "../../app/format";
import { engine, engineTick } from "../../app/services";
import { wordsFor } from "../../app/words";
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

/** What happens with the files on their way. It stays out of the way until there are some. */
export function UploadPanel() {
  const [open, setOpen] = useState(true);
  followEngine();
  const items = engine.items;
  if (items.length === 0) return null;
  const totals = engine.totals(performance.now());
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
      {engine.gate.away && (
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

/**
 * The engine changes its items in place, because there may be thousands of them: whoever shows one
 * draws it anew at every tick.
 */
function followEngine(): void {
  void engineTick.value;
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
  const over = engine.items.some((item) => isOver(item.state));
  const retryable = engine.items.some((item) => item.state === "failed");
  return (
    <footer>
      {totals.live > 0 && <Do text="upload.pauseAll" run={() => engine.all("pause")} />}
      {totals.paused > 0 && <Do text="upload.resumeAll" run={() => engine.all("resume")} />}
      {retryable && <Do text="upload.retryAll" run={() => engine.all("retry")} />}
      {totals.live + totals.paused > 1 && (
        <Do text="upload.cancelAll" run={() => engine.all("cancel")} />
      )}
      {over && <Do text="upload.clear" run={() => engine.clear()} />}
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
  followEngine();
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
            run={() => engine.pause(item)}
          />
        )}
        {item.state === "paused" && (
          <Small
            icon="play"
            label={t("upload.resume", { name: label })}
            run={() => engine.resume(item)}
          />
        )}
        {item.state === "failed" && mayRetry(item.error) && (
          <Small
            icon="retry"
            label={t("upload.retry", { name: label })}
            run={() => engine.retry(item)}
          />
        )}
        {accepts(item.state, "cancel") && item.state !== "conflict" && (
          <Small
            icon="close"
            label={t("upload.cancel", { name: label })}
            run={() => engine.cancel(item)}
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
  followEngine();
  const icons: Partial<Record<Item["state"], IconName>> = {
    done: item.instant ? "bolt" : "check",
    failed: "alert",
    conflict: "alert",
    paused: "pause",
  };
  return <Icon name={icons[item.state] ?? "upload"} class="badge" />;
}

function Status({ item }: { item: Item }) {
  followEngine();
  const parts: string[] = [];
  if (item.state === "failed") return <p class="field-error">{wordsFor(item.error)}</p>;
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
  followEngine();
  const [all, setAll] = useState(false);
  const many = engine.items.filter((other) => other.state === "conflict").length > 1;
  return (
    <div class="conflict">
      <span class="unseen">{t("conflict.text")}</span>
      {(["replace", "rename", "skip"] as const).map((rule) => (
        <button
          type="button"
          class="small"
          key={rule}
          onClick={() => engine.decide(item, rule, all)}
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
