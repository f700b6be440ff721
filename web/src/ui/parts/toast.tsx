import { signal } from "@preact/signals";
import { wordsFor } from "../../app/words";
import { t } from "../../i18n";
import { Icon } from "./icons";

interface Note {
  id: number;
  text: string;
  bad: boolean;
}

/** Long enough to be read twice. Errors stay until they are closed. */
const GOOD_STAYS = 5_000;
const MOST = 3;

const notes = signal<Note[]>([]);
let nextId = 1;

export function tell(text: string, bad = false): void {
  const note = { id: nextId++, text, bad };
  notes.value = [...notes.value.slice(1 - MOST), note];
  if (!bad) setTimeout(() => drop(note.id), GOOD_STAYS);
}

export function tellError(error: unknown): void {
  tell(wordsFor(error), true);
}

function drop(id: number): void {
  notes.value = notes.value.filter((note) => note.id !== id);
}

export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {notes.value.map(({ id, text, bad }) => (
        <div class={bad ? "toast bad" : "toast"} key={id}>
          <Icon name={bad ? "alert" : "check"} />
          <span>{text}</span>
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
