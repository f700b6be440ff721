import type { ComponentChildren } from "preact";
import { useId, useLayoutEffect, useRef } from "preact/hooks";
import { t } from "../../i18n";
import { Icon } from "./icons";

interface Props {
  title: ComponentChildren;
  onClose(): void;
  children: ComponentChildren;
  /** Buttons at the end. */
  actions?: ComponentChildren;
  size?: "small" | "medium" | "large";
}

/** A modal dialog; the browser keeps the focus inside and closes it with Escape. */
export function Dialog({ title, onClose, children, actions, size = "small" }: Props) {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  useLayoutEffect(() => {
    const dialog = ref.current;
    const before = document.activeElement;
    dialog?.showModal();
    return () => {
      dialog?.close();
      // The element may have been removed by what the dialog did.
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={ref}
      class={`dialog ${size}`}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onMouseDown={(event) => {
        if (event.target === ref.current) onClose();
      }}
    >
      <div class="dialog-inside">
        <header>
          <h2 id={id}>{title}</h2>
          <button type="button" class="quiet square" aria-label={t("app.close")} onClick={onClose}>
            <Icon name="close" />
          </button>
        </header>
        <div class="dialog-body">{children}</div>
        {actions && <footer>{actions}</footer>}
      </div>
    </dialog>
  );
}

interface ConfirmProps {
  title: ComponentChildren;
  text: string;
  action: string;
  onConfirm(): void;
  onClose(): void;
}

export function Confirm({ title, text, action, onConfirm, onClose }: ConfirmProps) {
  const buttons = (
    <>
      <button type="button" onClick={onClose}>
        {t("app.cancel")}
      </button>
      <button type="button" class="danger" onClick={onConfirm}>
        {action}
      </button>
    </>
  );
  return (
    <Dialog title={title} onClose={onClose} actions={buttons}>
      <p>{text}</p>
    </Dialog>
  );
}
