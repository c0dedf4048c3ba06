import { readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { RegistryError } from '../error.ts';

/** The system user that PostgreSQL runs as when we are root: PostgreSQL refuses to be root. */
export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/** null when we are no root, so that PostgreSQL may run as we do. */
export function serverAccount(): Account | null {
  if (process.getuid?.() !== 0) return null;
  const passwd = readFileSync('/etc/passwd', 'utf8');
  for (const name of ['postgres', 'nobody']) {
    const line = passwd.split('\n').find((each) => each.startsWith(`${name}:`));
    const [, , uid, gid] = line?.split(':') ?? [];
    if (uid !== undefined && gid !== undefined && uid !== '0') return { name, uid: Number(uid), gid: Number(gid) };
  }
  throw new RegistryError('POSTGRES_FAILED', 'never', {
    advice: 'PostgreSQL does not run as root and there is no user "postgres" or "nobody": start as another user',
  });
}

/** Whether an account can get to a path: every directory above it (and the path itself, if it is one) lets it through. */
export function reachable(path: string, account: Account): boolean {
  for (let at = resolve(path); ; at = dirname(at)) {
    try {
      const { mode, uid, gid } = statSync(at);
      const bits = uid === account.uid ? mode >> 6 : gid === account.gid ? mode >> 3 : mode;
      if ((bits & 1) === 0) return false;
    } catch {
      // What does not exist yet is made by us.
    }
    if (at === dirname(at)) return true;
  }
}
