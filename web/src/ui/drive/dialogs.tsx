/** Small dialogs about the names of entries. */
import { useState } from "preact/hooks";
import type { Entry } from "../../api/types";
import { plain } from "../../app/format";
import { api } from "../../app/services";
import { wordsFor } from "../../app/words";
import { t } from "../../i18n";
import { isTooDeep, join, nameFault, nameOf, parentOf } from "../../paths";
import { Dialog } from "../parts/dialog";
import { Field } from "../parts/field";
import { tell } from "../parts/toast";

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
