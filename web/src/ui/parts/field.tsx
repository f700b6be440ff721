import type { ComponentChildren } from "preact";
import { useId, useState } from "preact/hooks";
import { t } from "../../i18n";
import { Icon } from "./icons";

interface Props {
  label: string;
  value: string;
  onInput(value: string): void;
  hint?: string | undefined;
  error?: string | undefined;
  type?: "text" | "password" | "email";
  autocomplete?: string;
  autofocus?: boolean;
  required?: boolean;
  after?: ComponentChildren;
  onMount?: (input: HTMLInputElement) => void;
  maxLength?: number;
  inputMode?: "numeric";
}

/** A labelled input, with what it expects and what is wrong with it. */
export function Field(props: Props) {
  const { label, value, onInput, hint, error, type = "text", after } = props;
  const [shown, setShown] = useState(false);
  const id = useId();
  const about = error ? `${id}-error` : hint ? `${id}-hint` : undefined;
  return (
    <div class="field">
      <label for={id}>
        {label}
        {after}
      </label>
      <div class="input">
        <input
          id={id}
          value={value}
          // The types tell passwords from text, which this switches between.
          type={(type === "password" && !shown ? "password" : "text") as "text"}
          inputMode={props.inputMode ?? (type === "email" ? "email" : "text")}
          autocomplete={props.autocomplete ?? "off"}
          spellcheck={false}
          required={props.required ?? false}
          maxLength={props.maxLength}
          aria-invalid={error ? true : undefined}
          aria-describedby={about}
          onInput={(event) => onInput(event.currentTarget.value)}
          ref={(element) => {
            if (!element || element.dataset.seen) return;
            element.dataset.seen = "1";
            // After the dialog has taken the focus for itself.
            if (props.autofocus) setTimeout(() => element.focus());
            props.onMount?.(element);
          }}
        />
        {type === "password" && (
          <button
            type="button"
            class="quiet square"
            aria-label={t(shown ? "sign.hide" : "sign.show")}
            aria-pressed={shown}
            onClick={() => setShown(!shown)}
          >
            <Icon name="eye" />
          </button>
        )}
      </div>
      {error ? (
        <p class="field-error" id={`${id}-error`} role="alert">
          {error}
        </p>
      ) : (
        hint && (
          <p class="hint" id={`${id}-hint`}>
            {hint}
          </p>
        )
      )}
    </div>
  );
}
