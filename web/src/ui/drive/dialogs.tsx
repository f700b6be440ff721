/** Small dialogs about entries: names and deletion. */
import { useState } from "preact/hooks";
import { ApiError } from "../../api/error";
import type { Entry } from "../../api/types";
import { plain } from "../../app/format";
import { api } from "../../app/services";
import { wordsFor } from "../../app/words";
import { t, tn } from "../../i18n";
import { isTooDeep, join, nameFault, nameOf, parentOf } from "../../paths";
import { Confirm, Dialog } from "../parts/dialog";
import { Field } from "../parts/field";
import { tell, tellError } from "../parts/toast";

interface NameProps {
  title: string;
  label: string;
  action: string;
  initial: string;
  folder: string;
  submit(path: string, name: string): Promise<void>;
  onClose(): void;
}

/** Asks for a name, and says at once what is wrong with it. */
function NameDialog({ title, label, action, initial, folder, submit, onClose }: NameProps) {
  const [name, setName] = useState(initial);
  const [error, setError] = useState<string>();
  const [busy, setBusy] = useState(false);
  const onSubmit = async (event: Event) => {
    event.preventDefault();
    const path = join(folder, name);
    const fault = nameFault(name);
    if (fault) return setError(t(`name.${fault}`));
    if (isTooDeep(path)) return setError(t("name.deep"));
    if (name === initial) return onClose();
    setBusy(true);
    try {
      await submit(path, name);
      onClose();
    } catch (problem) {
      setError(wordsFor(problem));
      setBusy(false);
    }
  };
  const buttons = (
    <>
      <button type="button" onClick={onClose}>
        {t("app.cancel")}
      </button>
      <button type="submit" form="name-form" class="primary" disabled={busy}>
        {action}
      </button>
    </>
  );
  return (
    <Dialog title={title} onClose={onClose} actions={buttons}>
      <form id="name-form" onSubmit={onSubmit} noValidate>
        <Field
          label={label}
          value={name}
          error={error}
          autofocus
          onInput={(text) => {
            setName(text);
            setError(undefined);
          }}
          onMount={(input) => {
            // The extension is rarely meant to change.
            const dot = initial.lastIndexOf(".");
            setTimeout(() => input.setSelectionRange(0, dot > 0 ? dot : initial.length));
          }}
        />
      </form>
    </Dialog>
  );
}

export function NewFolder(props: { folder: string; onClose(): void; done(): void }) {
  const submit = async (path: string, name: string) => {
    await api.createFolder(path);
    tell(t("folder.created", { name: plain(name) }));
    props.done();
  };
  const [title, label, action] = [t("folder.title"), t("folder.name"), t("folder.create")];
  return <NameDialog {...props} {...{ title, label, action, submit }} initial="" />;
}

export function Rename({ entry, ...props }: { entry: Entry; onClose(): void; done(): void }) {
  const submit = async (path: string, name: string) => {
    await api.move(entry.path, path);
    tell(t("rename.done", { name: plain(name) }));
    props.done();
  };
  const [title, label, action] = [t("rename.title"), t("rename.name"), t("drive.rename")];
  const [folder, initial] = [parentOf(entry.path), nameOf(entry.path)];
  return <NameDialog {...props} {...{ title, label, action, submit, folder, initial }} />;
}

interface EntriesProps {
  entries: Entry[];
  onClose(): void;
  done(): void;
}

export function Remove({ entries, onClose, done }: EntriesProps) {
  const name = plain(nameOf(entries[0]?.path ?? ""));
  const folders = entries.some((entry) => entry.kind === "folder");
  const onConfirm = async () => {
    onClose();
    try {
      await changeAll(entries.map(({ path }) => ({ op: "delete", path }) as const));
      tell(tn("delete.done", entries.length, { name }));
    } catch (error) {
      tellError(error);
    }
    done();
  };
  return (
    <Confirm
      title={tn("delete.title", entries.length, { name })}
      text={t(folders ? "delete.folders" : "delete.text")}
      action={t("delete.do")}
      onConfirm={() => void onConfirm()}
      onClose={onClose}
    />
  );
}

/** Changes made in one call, all or none; the server takes as many. */
const CHANGES_AT_ONCE = 1_000;
/** Characters of paths in one call: gateways take bodies of JSON up to 1 MiB. */
const CHARACTERS_AT_ONCE = 200_000;

type Changes = Parameters<typeof api.change>[0];

/** Makes changes in as few calls as possible. */
export async function changeAll(changes: Changes): Promise<void> {
  let some: Changes = [];
  let characters = 0;
  for (const change of changes) {
    some.push(change);
    characters += JSON.stringify(change).length;
    if (some.length < CHANGES_AT_ONCE && characters < CHARACTERS_AT_ONCE) continue;
    await api.change(some);
    [some, characters] = [[], 0];
  }
  if (some.length > 0) await api.change(some);
}

/** Moves entries into a folder and tells what became of it. */
export async function moveAll(paths: string[], folder: string, done: () => void): Promise<void> {
  const moves = paths
    .filter((path) => path !== folder && parentOf(path) !== folder)
    .map((from) => ({ op: "move", from, to: join(folder, nameOf(from)) }) as const);
  if (moves.length === 0) return;
  try {
    await changeAll(moves);
    const name = plain(nameOf(folder)) || t("drive.home");
    tell(tn("move.done", moves.length, { name }));
  } catch (error) {
    const taken = error instanceof ApiError && error.slug === "name-conflict";
    tell(taken ? t("problem.name-conflict") : wordsFor(error), true);
  }
  done();
}
