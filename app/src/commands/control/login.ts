import { createClient } from '@millrace/sdk';
import { Failure } from './failure.ts';
import { ask, askSecretly, readInput, secretOf } from './input.ts';
import {
  changeProfiles,
  DEFAULT_ADMIN,
  DEFAULT_URL,
  localNode,
  type Profile,
  profilesPath,
  readProfiles,
  saveProfile,
} from './profiles.ts';
import { type Call, flag, text, word } from './specification.ts';
import { column } from './table.ts';

/** Logs in and keeps the login as a profile. */
export async function logIn(call: Call): Promise<void> {
  const name = text(call, 'profile') ?? readProfiles().current ?? 'default';
  const kept = readProfiles().profiles[name];
  if (flag(call, 'local')) return logInLocally(call, name === 'default' ? 'local' : name);
  const url = (text(call, 'url') ?? (process.env.MILLRACE_URL || undefined) ?? kept?.url ?? DEFAULT_URL).replace(
    /\/+$/,
    '',
  );
  const org = text(call, 'org') ?? (kept?.url === url ? kept.org : undefined);
  const withOrg = org === undefined ? {} : { org };
  const given = text(call, 'token');
  if (given !== undefined) {
    const token = secretOf(given);
    const me = await createClient({ url, token }).users.me().catch(unknownCredential);
    save(call, name, { url, token, ...withOrg, ...(me === null ? {} : { email: me.email }) });
    return;
  }
  const email = (word(call, 0) || kept?.email) ?? (await ask('E-mail: '));
  const password = flag(call, 'passwordStdin')
    ? readInput('-').replace(/\r?\n$/, '')
    : await askSecretly(`Password of ${email} at ${url}: `);
  const { token, refreshToken } = await createClient({ url }).logIn(email, password).catch(wrongPassword);
  save(call, name, {
    url,
    email,
    token,
    ...(refreshToken === undefined ? {} : { refresh_token: refreshToken }),
    ...withOrg,
  });
}

/** An API key says nothing of its user where it may not read that. */
function unknownCredential(error: unknown): null {
  const { status } = error as { status?: number };
  if (status === 403 || status === 404) return null;
  if (status === 401) throw new Failure(3, 'The token is unknown or has expired.', 'Get another one.');
  throw error;
}

function wrongPassword(error: unknown): never {
  if ((error as { status?: number }).status === 401) throw new Failure(3, 'E-mail or password is wrong.');
  throw error;
}

/** On one's own machine the node's data directory tells the first administrator's password. */
async function logInLocally(call: Call, name: string): Promise<void> {
  const node = localNode(text(call, 'dataDir'));
  if (node === null) {
    const where = text(call, 'dataDir') ?? (process.env.MILLRACE_DATA_DIR || './data');
    throw new Failure(6, `No node of yours runs on ${where}.`, 'Start one (millrace start), or say where: --data-dir');
  }
  const email = process.env.MILLRACE_ADMIN_EMAIL || DEFAULT_ADMIN;
  const { token, refreshToken } = await createClient({ url: node.url })
    .logIn(email, node.password)
    .catch(wrongPassword);
  save(call, name, {
    url: node.url,
    email,
    data_dir: node.dataDirectory,
    token,
    ...(refreshToken === undefined ? {} : { refresh_token: refreshToken }),
  });
}

function save(call: Call, name: string, profile: Profile): void {
  saveProfile(name, profile, true);
  if (call.output.json) call.output.one({ profile: name, url: profile.url, email: profile.email ?? null });
  else
    call.output.note(
      `Logged in to ${profile.url}${profile.email === undefined ? '' : ` as ${profile.email}`} (profile ${name}).`,
    );
}

/** Ends the session at the server and forgets the tokens. */
export async function logOut(call: Call): Promise<void> {
  const connection = await call.connection();
  const { profile } = connection;
  if (profile === null) throw new Failure(3, 'Nobody is logged in.');
  const { refresh_token: refreshToken } = readProfiles().profiles[profile] ?? {};
  if (flag(call, 'everywhere')) await (await call.client()).users.logOutEverywhere();
  else if (refreshToken !== undefined) {
    const body = { refresh_token: refreshToken };
    await createClient({ url: connection.url })
      .transport.call('POST', '/tokens/revoke', { body, anonymous: true })
      .catch((error: Error) => call.output.note(`The server could not be told: ${error.message}`));
  }
  changeProfiles(({ current, profiles }) => {
    const { [profile]: _gone, ...rest } = profiles;
    const next = current === profile ? Object.keys(rest)[0] : current;
    return { ...(next === undefined ? {} : { current: next }), profiles: rest };
  });
  call.output.note(`Logged out (profile ${profile}).`);
}

export async function whoAmI(call: Call): Promise<void> {
  const { url, profile } = await call.connection();
  const client = await call.client();
  const me = await client.users.me();
  if (call.output.json) {
    call.output.one(me);
    return;
  }
  const { id, email, name, admin, orgs } = me;
  const told = (orgs ?? []).map((org) => `${org.name} (${org.role})`);
  call.output.one({
    server: url,
    profile: profile ?? '(MILLRACE_TOKEN)',
    id,
    email,
    ...(name === '' ? {} : { name }),
    admin,
    organisations: told,
  });
}

export async function profiles(call: Call): Promise<void> {
  const { current, profiles: known } = readProfiles();
  const chosen = word(call, 0);
  if (chosen !== '') {
    if (known[chosen] === undefined) throw new Failure(4, `There is no profile “${chosen}”.`);
    changeProfiles((file) => ({ ...file, current: chosen }));
    call.output.note(`Profile ${chosen} from now on.`);
    return;
  }
  const rows = Object.entries(known).map(([name, { url, email, org }]) => ({
    current: name === current,
    name,
    url,
    email,
    org,
  }));
  if (call.output.json) {
    call.output.one({ file: profilesPath(), profiles: rows });
    return;
  }
  const columns = [
    { title: '', value: (row: Readonly<Record<string, unknown>>) => (row.current === true ? '*' : '') },
    column('NAME', 'name'),
    column('SERVER', 'url'),
    column('E-MAIL', 'email'),
    column('ORGANISATION', 'org'),
  ];
  call.output.rows(columns, rows);
}
