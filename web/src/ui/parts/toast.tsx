import { signal } from "@preact/signals";
import { whenOver } from "../../app/over";
import { wordsFor } from "../../app/words";
import { t } from "../../i18n";
import { Icon } from "./icons";

/** Something that can be done about what is told. */
export interface ToastAction {
  text: string;
  run(): void;
}

interface Note {
  id: number;
  text: string;
  bad: boolean;
  action: ToastAction | undefined;
}

/** Long enough to be read twice. Errors stay until they are closed. */
const GOOD_STAYS = 5_000;
/** Long enough to be read and reached. */
const ACTION_STAYS = 12_000;
const MOST = 3;

const notes = signal<Note[]>([]);
const timers = new Map<number, ReturnType<typeof setTimeout>>();
let nextId = 1;

export function tell(text: string, bad = false, action?: ToastAction): void {
  show(text, bad, action);
}

/** Tells of something that can be done; what is returned takes that back. */
export function offer(text: string, action: ToastAction): () => void {
  const id = show(text, false, action);
  return () => drop(id);
}

function show(text: string, bad: boolean, action: ToastAction | undefined): number {
  const note = { id: nextId++, text, bad, action };
  notes.value = [...notes.value.slice(1 - MOST), note];
  start(note);
  return note.id;
}

// What was told one user is nothing for the next.
whenOver(() => {
  hold();
  notes.value = [];
});

export function tellError(error: unknown): void {
  tell(wordsFor(error), true);
}

function start({ id, bad, action }: Note): void {
  if (bad) return;
  timers.set(
    id,
    setTimeout(() => drop(id), action ? ACTION_STAYS : GOOD_STAYS),
  );
}

/** Nothing goes away while somebody is about to use it. */
function hold(): void {
  for (const timer of timers.values()) clearTimeout(timer);
  timers.clear();
}

function goOn(): void {
  hold();
  for (const note of notes.value) start(note);
}

function drop(id: number): void {
  notes.value = notes.value.filter((note) => note.id !== id);
  // What had the focus, or the pointer, may be gone without a word about it.
  if (timers.size === 0) goOn();
}

export function Toasts() {
  return (
    <div
      class="toasts"
      role="status"
      aria-live="polite"
      onMouseEnter={hold}
      onMouseLeave={goOn}
      onFocusIn={hold}
      onFocusOut={goOn}
    >
      {notes.value.map(({ id, text, bad, action }) => (
        <div class={bad ? "toast bad" : "toast"} key={id}>
          <Icon name={bad ? "alert" : "check"} />
          <span>{text}</span>
          {action && (
            <button
              type="button"
              class="quiet small"
              onClick={() => {
                drop(id);
                action.run();
              }}
            >
              {action.text}
            </button>
          )}
          <button
            type="button"
            class="quiet square"
            aria-label={t("app.close")}
            onClick={() => drop(id)}
          >
            <Icon name="close" />
          </button>
        </div>
      ))}
    </div>
  );
}
