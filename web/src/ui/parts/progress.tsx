/** A bar whose width is set through the style object: the policy forbids style attributes. */
export function Progress(props: { value: number; max: number; label: string; class?: string }) {
  const part = props.max > 0 ? Math.min(1, props.value / props.max) : 0;
  return (
    <div
      class={`bar ${props.class ?? ""}`}
      role="progressbar"
      aria-label={props.label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.floor(part * 100)}
    >
      <div style={{ transform: `scaleX(${part})` }} />
    </div>
  );
}
