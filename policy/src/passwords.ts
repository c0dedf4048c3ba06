import { hash, verify } from '@node-rs/argon2';
import { PolicyError } from './errors.ts';
import { Limiter } from './limiter.ts';

/** @source OWASP Password Storage Cheat Sheet: argon2id, 19 MiB, two passes, one lane */
// argon2id is the package's own default; its constant is ambient and can't be named here.
const PARAMETERS = { memoryCost: 19_456, timeCost: 2, parallelism: 1 };
const PASSWORD_BYTES_MAX = 1_024;
const WAITING_COUNT_MAX = 64;
const WAIT_MS_MAX = 10_000;

export interface Passwords {
  hashPassword(password: string): Promise<string>;
  verifyPassword(password: string, hash: string | null): Promise<boolean>;
}

/** Hashes passwords, so many at a time that a flood of logins neither takes all memory nor the thread pool.
 *  @throws PolicyError POLICY_BUSY when too many wait */
export function createPasswords(hashesMax: number): Passwords {
  const limiter = new Limiter('passwords', hashesMax, WAITING_COUNT_MAX, WAIT_MS_MAX);
  const tooLong = (password: string): boolean => Buffer.byteLength(password) > PASSWORD_BYTES_MAX;
  let nobody: Promise<string> | undefined;
  return {
    async hashPassword(password) {
      if (tooLong(password)) throw new PolicyError('PASSWORD_TOO_LONG', 'never', { bytesMax: PASSWORD_BYTES_MAX });
      return limiter.run(() => hash(password, PARAMETERS));
    },
    async verifyPassword(password, known) {
      const long = tooLong(password);
      return limiter.run(async () => {
        nobody ??= hash('nobody has this password', PARAMETERS);
        const held = await verify(known ?? (await nobody), long ? '' : password).catch(() => false);
        return held && known !== null && !long;
      });
    },
  };
}
