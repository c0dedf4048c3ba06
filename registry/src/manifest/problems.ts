import { Refusal } from '../http/refusal.ts';

const TOLD_MAX = 20;

/** What is wrong with a manifest, each with its place. All of it is found before any of it is told. */
export class Problems {
  readonly #found: string[] = [];

  /** @param path as `things[3].group` */
  add(path: string, what: string): void {
    this.#found.push(`${path}: ${what}`);
  }

  /** @throws Refusal 422 */
  refuse(): void {
    if (this.#found.length === 0) return;
    const more = this.#found.length - TOLD_MAX;
    const told = this.#found.slice(0, TOLD_MAX).join('; ');
    throw new Refusal(422, `The manifest is wrong: ${told}${more > 0 ? `; and ${more} more` : ''}.`);
  }
}

/** Names are told shortened: a client chooses how long they are. */
export const told = (name: string): string => (name.length > 80 ? `${name.slice(0, 80)}…` : name);
