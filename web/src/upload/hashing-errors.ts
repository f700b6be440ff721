/** Apart from the hashing itself, which the page must not load. */

/** The file cannot be read any more, because it was changed or removed. */
export class Unreadable extends Error {
  constructor() {
    super("the file changed or is gone");
    this.name = "Unreadable";
  }
}
