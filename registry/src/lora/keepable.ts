/** A text of somebody else's as PostgreSQL can keep it: no U+0000, no half of a surrogate pair. */
export const keepable = (text: string, charactersMax: number): string =>
  text.slice(0, charactersMax).replaceAll(/\0|\p{Surrogate}/gu, '');
