import { randomBytes, randomUUID } from 'node:crypto';
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Account, reachable } from './account.ts';

/** Where the cluster lives. */
export interface Place {
  readonly directory: string;
  readonly cluster: string;
  readonly passwordFile: string;
  /** Set when the cluster can't live in the directory that was asked for. */
  readonly elsewhere: boolean;
}

/** Chooses and makes the place. When the server's account can't reach the directory, the cluster goes to
 *  `<fallback>/<id>`, and the id stays in the directory: who deletes the directory begins anew.
 *  @param account null: the server runs as we do */
export function preparePlace(directory: string, account: Account | null, fallback = '/var/lib/millrace'): Place {
  const asked = resolve(directory);
  mkdirSync(asked, { recursive: true, mode: 0o700 });
  const marker = join(asked, 'location');
  let place = asked;
  if (account !== null) {
    if (existsSync(marker)) place = readFileSync(marker, 'utf8').trim();
    else if (!reachable(resolve(asked, '..'), account)) {
      place = join(fallback, randomUUID());
      writeFileSync(marker, place, { mode: 0o600 });
    }
  }
  const elsewhere = place !== asked;
  if (elsewhere) mkdirSync(place, { recursive: true, mode: 0o711 });
  const passwordFile = join(place, 'password');
  if (!existsSync(passwordFile)) writeFileSync(passwordFile, randomBytes(24).toString('base64url'), { mode: 0o600 });
  if (account !== null) {
    chownSync(place, account.uid, account.gid);
    chmodSync(place, 0o700);
    chownSync(passwordFile, account.uid, account.gid);
  }
  return { directory: place, cluster: join(place, 'cluster'), passwordFile, elsewhere };
}
