import { reveal } from "../../app/format";

/** A name that somebody else chose: text in isolation, with nothing hidden in it. */
export function Name({ name, class: extra }: { name: string; class?: string }) {
  return (
    <bdi class={`name ${extra ?? ""}`} title={name}>
      {reveal(name).map((piece, index) =>
        piece.hidden ? (
          <span class="hidden-character" key={index}>
            {piece.text}
          </span>
        ) : (
          piece.text
        ),
      )}
    </bdi>
  );
}
