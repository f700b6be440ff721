import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

/** Rows drawn beyond what is visible, so that fast scrolling shows no gaps. */
const OVERSCAN = 8;

interface Props {
  count: number;
  /** Pixels. */
  rowHeight: number;
  /** The row that must be in sight, wherever it goes, unless somebody has scrolled away from it. */
  sight?: number | undefined;
  class?: string;
  children(index: number): ComponentChildren;
  onEnd?: () => void;
  wrap(rows: ComponentChildren): ComponentChildren;
}

/** Draws only the rows in sight, whatever their number. */
export function VirtualRows(props: Props) {
  const { count, rowHeight, sight, children, onEnd, wrap } = props;
  const ref = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 800 });
  useLayoutEffect(() => {
    const box = ref.current;
    if (!box) return;
    const look = () => setView({ top: box.scrollTop, height: box.clientHeight });
    look();
    box.addEventListener("scroll", look, { passive: true });
    const observer = new ResizeObserver(look);
    observer.observe(box);
    return () => {
      box.removeEventListener("scroll", look);
      observer.disconnect();
    };
  }, []);
  const first = Math.max(0, Math.floor(view.top / rowHeight) - OVERSCAN);
  const last = Math.min(count, Math.ceil((view.top + view.height) / rowHeight) + OVERSCAN);
  const seen = useRef<number | undefined>(undefined);
  useLayoutEffect(() => {
    const box = ref.current;
    const before = seen.current;
    seen.current = sight;
    if (!box || sight === undefined) return;
    if (before !== undefined && (before < first || before >= last)) return;
    const top = sight * rowHeight;
    if (top < box.scrollTop) box.scrollTop = top;
    else if (top + rowHeight > box.scrollTop + box.clientHeight) {
      box.scrollTop = top + rowHeight - box.clientHeight;
    }
  }, [sight, rowHeight]);
  useEffect(() => {
    if (last >= count) onEnd?.();
  }, [last, count]);
  const rows = [];
  for (let index = first; index < last; index++) rows.push(children(index));
  return (
    <div class={`scroller ${props.class ?? ""}`} ref={ref}>
      <div class="tall" style={{ height: `${count * rowHeight}px` }} role="presentation">
        <div
          class="window"
          style={{ transform: `translateY(${first * rowHeight}px)` }}
          role="presentation"
        >
          {wrap(rows)}
        </div>
      </div>
    </div>
  );
}

/** Does the window match? Follows changes. */
export function useMedia(query: string): boolean {
  const [matches, setMatches] = useState(() => matchMedia(query).matches);
  useEffect(() => {
    const list = matchMedia(query);
    const look = () => setMatches(list.matches);
    list.addEventListener("change", look);
    return () => list.removeEventListener("change", look);
  }, [query]);
  return matches;
}
