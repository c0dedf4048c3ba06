import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';

export const WAIT_MS = 20_000;

/** What a control plane without a mail server has written into its outbox. */
export class Mailbox {
  readonly #outbox: string;

  constructor(directory: string) {
    this.#outbox = join(directory, 'outbox');
  }

  /** Mails to an address, the oldest first. */
  of(to: string): string[] {
    if (!existsSync(this.#outbox)) return [];
    return readdirSync(this.#outbox)
      .filter((name) => name.endsWith('.eml'))
      .sort()
      .map((name) => readFileSync(join(this.#outbox, name), 'utf8'))
      .filter((mail) => new RegExp(`^To: ${to.replaceAll('.', '\\.')}$`, 'm').test(mail));
  }

  /** The newest token of a kind that came to an address. @param path of its link, as `reset` */
  async token(to: string, path: string, count = 1): Promise<string> {
    const tokens = (): string[] =>
      this.of(to).flatMap((mail) => {
        const [, token] = new RegExp(`/account/${path}#token=([\\w-]+)`).exec(mail) ?? [];
        return token === undefined ? [] : [token];
      });
    await expect.poll(() => tokens().length, { timeout: WAIT_MS }).toBeGreaterThanOrEqual(count);
    return tokens().at(-1) ?? '';
  }

  /** Permissions of the folder and of its files. */
  modes(): { folder: number; files: number[] } {
    const mode = (path: string): number => statSync(path).mode & 0o777;
    return {
      folder: mode(this.#outbox),
      files: readdirSync(this.#outbox).map((name) => mode(join(this.#outbox, name))),
    };
  }
}
