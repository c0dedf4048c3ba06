import { randomUUID } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { homedir, networkInterfaces } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TokenStore, Tokens } from '@millrace/sdk';
import { NO_PROFILE, PROFILE_NAMES } from '../../profile.ts';
import { Failure } from './failure.ts';

/** A server and who one is there. */
export interface Profile {
  readonly url: string;
  readonly email?: string;
  readonly org?: string;
  readonly token?: string;
  readonly refresh_token?: string;
  /** Of a node on this machine: where its address and the first administrator's password are. */
  readonly data_dir?: string;
}
interface ProfileFile {
  readonly current?: string;
  readonly profiles: Readonly<Record<string, Profile>>;
}

/** Whom a command talks to, and as whom. */
export interface Connection {
  readonly url: string;
  /** Null: no profile is used, MILLRACE_TOKEN says who. */
  readonly profile: string | null;
  readonly org?: string;
  readonly email?: string;
  readonly token?: string;
  readonly store?: TokenStore;
  readonly credentials?: { readonly email: string; readonly password: string };
}
export interface ConnectionFlags {
  readonly url?: string | undefined;
  readonly profile?: string | undefined;
  readonly org?: string | undefined;
}

export const DEFAULT_URL = 'http://127.0.0.1:8080';
export const DEFAULT_ADMIN = 'admin@millrace.local';
const LOCK_MS_MAX = 20_000;

export const profilesPath = (): string =>
  join(process.env.XDG_CONFIG_HOME || join(homedir(), '.config'), 'millrace', 'profiles.json');

/** @throws Failure when the file is no profile file */
export function readProfiles(path = profilesPath()): ProfileFile {
  if (!existsSync(path)) return { profiles: {} };
  // Windows knows no such modes.
  if (process.platform !== 'win32' && (statSync(path).mode & 0o077) !== 0)
    process.stderr.write(`millrace: others can read ${path}, which holds tokens: chmod 600 '${path}'\n`);
  try {
    const file = JSON.parse(readFileSync(path, 'utf8')) as Partial<ProfileFile>;
    return { ...file, profiles: file.profiles ?? {} };
  } catch {
    throw new Failure(1, `${path} is damaged.`, `Mend it, or remove it and log in again: rm '${path}'`);
  }
}

/** Changes the file as a whole; only its owner may read it. */
export function changeProfiles(change: (file: ProfileFile) => ProfileFile, path = profilesPath()): void {
  const changed = change(readProfiles(path));
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const draft = `${path}.${randomUUID()}`;
  writeFileSync(draft, `${JSON.stringify(changed, null, 2)}\n`, { mode: 0o600 });
  chmodSync(draft, 0o600);
  renameSync(draft, path);
}

export const saveProfile = (name: string, profile: Profile, makeCurrent: boolean): void =>
  changeProfiles((file) => ({
    ...(makeCurrent || file.current === undefined ? { current: name } : { current: file.current }),
    profiles: { ...file.profiles, [name]: profile },
  }));

/** The node on this machine, if one runs on the data directory. */
export function localNode(dataDirectory = process.env.MILLRACE_DATA_DIR || './data'): {
  readonly url: string;
  readonly password: string;
  readonly dataDirectory: string;
} | null {
  try {
    const ready = JSON.parse(readFileSync(join(dataDirectory, 'run', 'ready.json'), 'utf8')) as { http?: string };
    const password = readFileSync(join(dataDirectory, 'admin-password'), 'utf8').trim();
    const url = ready.http === undefined ? null : listenerUrl(ready.http);
    // A directory that came from elsewhere must not lead what we say to a server of its author's.
    return url === null || !isThisMachine(url) ? null : { url, password, dataDirectory: resolve(dataDirectory) };
  } catch {
    return null;
  }
}

function isThisMachine(url: string): boolean {
  const host = new URL(url).hostname.replace(/^\[|\]$/g, '');
  if (host === 'localhost' || host === '::1' || /^127(?:\.\d{1,3}){3}$/.test(host)) return true;
  return Object.values(networkInterfaces()).some((found) => found?.some(({ address }) => address === host));
}

/** A listener on every address answers on this machine's own. */
const listenerUrl = (url: string): string => url.replace('//0.0.0.0:', '//127.0.0.1:').replace('//[::]:', '//[::1]:');

/** Where and as whom, by: flags, the environment, the profile, the node on this machine.
 *  @throws Failure 2 for a profile that is not there */
export function connectionOf(flags: ConnectionFlags): Connection {
  const { MILLRACE_URL: url, MILLRACE_TOKEN: token, MILLRACE_ORG: org } = process.env;
  const given = flags.url ?? (url || undefined);
  const ofOrg = flags.org ?? (org || undefined);
  if (token !== undefined && token !== '') {
    const address = given ?? currentProfile(flags)?.profile.url ?? localNode()?.url ?? DEFAULT_URL;
    return { url: address, profile: null, token, ...(ofOrg === undefined ? {} : { org: ofOrg }) };
  }
  const current = currentProfile(flags) ?? localProfile(given);
  if (current === null) return { url: given ?? localNode()?.url ?? DEFAULT_URL, profile: null, ...withOrg(ofOrg) };
  const { name, profile } = current;
  const local = profile.data_dir === undefined ? null : localNode(profile.data_dir);
  const address = given ?? local?.url ?? profile.url;
  // Tokens are shown to no server but their own.
  if (given !== undefined && !sameServer(given, local?.url ?? profile.url))
    return { url: given, profile: null, ...withOrg(ofOrg) };
  return {
    url: address,
    profile: name,
    store: profileTokens(name),
    ...withOrg(ofOrg ?? profile.org),
    ...(profile.email === undefined ? {} : { email: profile.email }),
    ...(local === null ? {} : { credentials: { email: profile.email ?? DEFAULT_ADMIN, password: local.password } }),
  };
}

const withOrg = (org: string | undefined) => (org === undefined ? {} : { org });

const sameServer = (a: string, b: string): boolean => a.replace(/\/+$/, '') === b.replace(/\/+$/, '');

/** @throws Failure 2 while MILLRACE_PROFILE, its former name, holds a login and nothing takes its place: a command must
 *  not go to another server than was meant */
function loginProfile(): string | undefined {
  const { MILLRACE_LOGIN_PROFILE: name, MILLRACE_PROFILE: former } = process.env;
  if (name !== undefined && name !== '') return name;
  if (former === undefined || former === '' || (PROFILE_NAMES as readonly string[]).includes(former)) return undefined;
  throw new Failure(2, `MILLRACE_PROFILE: “${former}” ${NO_PROFILE}`, `MILLRACE_LOGIN_PROFILE=${former}`);
}

function currentProfile({ profile, url }: ConnectionFlags): { name: string; profile: Profile } | null {
  const file = readProfiles();
  const asked = profile ?? loginProfile();
  const server = url ?? (process.env.MILLRACE_URL || undefined);
  const ofServer = Object.keys(file.profiles).filter(
    (each) => server !== undefined && sameServer(server, file.profiles[each]?.url ?? ''),
  );
  // A login at the server that is asked for goes before the usual one elsewhere.
  const usual = file.current !== undefined && ofServer.includes(file.current) ? file.current : ofServer[0];
  const name = asked ?? usual ?? file.current;
  const found = name === undefined ? undefined : file.profiles[name];
  if (name !== undefined && found !== undefined) return { name, profile: found };
  if (asked === undefined) return null;
  const known = Object.keys(file.profiles).join(', ');
  throw new Failure(
    2,
    `There is no profile “${asked}”.`,
    known === '' ? 'Make one: millrace login' : `There are: ${known}`,
  );
}

/** On one's own machine nobody needs to log in: the node's data directory tells the first administrator's password. */
function localProfile(url: string | undefined): { name: string; profile: Profile } | null {
  const node = localNode();
  if (node === null || (url !== undefined && !sameServer(url, node.url))) return null;
  const email = process.env.MILLRACE_ADMIN_EMAIL || DEFAULT_ADMIN;
  const profile = { url: node.url, email, data_dir: node.dataDirectory };
  saveProfile('local', profile, true);
  process.stderr.write(`millrace: logged in to ${node.url} as ${email} (profile local)\n`);
  return { name: 'local', profile };
}

/** The tokens of a profile, shared by all commands that run at a time. */
export function profileTokens(name: string): TokenStore {
  return {
    load() {
      const { token, refresh_token: refreshToken } = readProfiles().profiles[name] ?? {};
      if (token === undefined) return null;
      return { token, ...(refreshToken === undefined ? {} : { refreshToken }) };
    },
    save: ({ token, refreshToken }: Tokens) =>
      changeProfiles((file) => {
        const { token: _token, refresh_token: _refresh, ...rest } = file.profiles[name] ?? { url: DEFAULT_URL };
        const tokens = { token, ...(refreshToken === undefined ? {} : { refresh_token: refreshToken }) };
        return { ...file, profiles: { ...file.profiles, [name]: { ...rest, ...tokens } } };
      }),
    exclusively: (task) => exclusively(`${profilesPath()}.lock`, task),
  };
}

/** One process at a time: a refresh token that two use ends the session of both. A lock that is older than any
 *  refresh takes is of a process that died. */
async function exclusively<T>(lock: string, task: () => Promise<T>): Promise<T> {
  mkdirSync(dirname(lock), { recursive: true, mode: 0o700 });
  for (const end = Date.now() + LOCK_MS_MAX; ; await sleep(20)) {
    try {
      closeSync(openSync(lock, 'wx', 0o600));
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      if (Date.now() > end || ageMs(lock) > LOCK_MS_MAX) rmSync(lock, { force: true });
    }
  }
  try {
    return await task();
  } finally {
    rmSync(lock, { force: true });
  }
}

function ageMs(path: string): number {
  try {
    return Date.now() - statSync(path).mtimeMs;
  } catch {
    return 0;
  }
}
