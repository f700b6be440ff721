import type { ComponentChildren, RefObject } from "preact";
import { useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import { Icon, type IconName } from "./icons";

export interface MenuEntry {
  icon: IconName;
  text: string;
  danger?: boolean;
  onSelect(): void;
}

interface Props {
  label: string;
  entries: MenuEntry[];
  class?: string;
  children: ComponentChildren;
  tabIndex?: number;
}

/** Space kept free between a menu and the edge of the window. */
const MARGIN = 8;

/** A button with a menu: arrows move, Escape and a click elsewhere close it. */
export function Menu({ label, entries, class: extra = "", children, tabIndex }: Props) {
  const [open, setOpen] = useState(false);
  const button = useRef<HTMLButtonElement>(null);
  const list = useRef<HTMLDivElement>(null);
  const id = useId();

  useShown(open, list, button, () => setOpen(false));
  const close = () => {
    list.current?.hidePopover();
    setOpen(false);
    button.current?.focus();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const items = [...(list.current?.querySelectorAll("button") ?? [])];
    const at = items.indexOf(document.activeElement as HTMLButtonElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
    event.stopPropagation();
    if (event.key === "Escape" || event.key === "Tab") close();
    if (event.key === "Escape" || to !== undefined) event.preventDefault();
    if (to !== undefined) items[(to + items.length) % items.length]?.focus();
  };
  return (
    <>
      <button
        type="button"
        ref={button}
        class={extra}
        aria-label={label}
        aria-haspopup="menu"
        aria-expanded={open}
        aria-controls={open ? id : undefined}
        tabIndex={tabIndex}
        onClick={(event) => {
          event.stopPropagation();
          setOpen(!open);
        }}
      >
        {children}
      </button>
      {open && (
        <div
          id={id}
          ref={list}
          class="menu"
          role="menu"
          aria-label={label}
          tabIndex={-1}
          popover="auto"
          onKeyDown={onKeyDown}
          onClick={(event) => event.stopPropagation()}
        >
          {entries.map(({ icon, text, danger, onSelect }) => (
            <button
              type="button"
              role="menuitem"
              tabIndex={-1}
              key={text}
              class={danger ? "danger-text" : ""}
              onClick={() => {
                close();
                onSelect();
              }}
            >
              <Icon name={icon} />
              {text}
            </button>
          ))}
        </div>
      )}
    </>
  );
}

/** Shows the menu at its button, and follows the browser when it closes it. */
function useShown(
  open: boolean,
  list: RefObject<HTMLDivElement | null>,
  button: RefObject<HTMLButtonElement | null>,
  onClosed: () => void,
): void {
  // Before anything is drawn: the next key may come at once, and belongs to the menu.
  useLayoutEffect(() => {
    if (!open) return;
    const menu = list.current;
    const anchor = button.current;
    if (!menu || !anchor) return;
    menu.showPopover();
    place(menu, anchor);
    menu.querySelector("button")?.focus();
    const closed = (event: Event) => {
      if ((event as ToggleEvent).newState === "closed") onClosed();
    };
    const scrolled = () => menu.hidePopover();
    menu.addEventListener("toggle", closed);
    window.addEventListener("resize", scrolled);
    return () => {
      menu.removeEventListener("toggle", closed);
      window.removeEventListener("resize", scrolled);
    };
  }, [open]);
}

function place(menu: HTMLElement, anchor: HTMLElement): void {
  const from = anchor.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = menu;
  const left = from.left + width > innerWidth - MARGIN ? from.right - width : from.left;
  const below = from.bottom + 4;
  const top = below + height > innerHeight - MARGIN ? from.top - height - 4 : below;
  menu.style.left = `${Math.max(MARGIN, left)}px`;
  menu.style.top = `${Math.max(MARGIN, top)}px`;
}
