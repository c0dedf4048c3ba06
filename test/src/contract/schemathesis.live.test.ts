import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { example } from '@millrace/registry';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Asker } from '../control/plane.ts';
import { Millrace, run } from '../millrace.ts';
import { makeExampleOrganisation } from './example-organisation.ts';

const HERE = new URL('./schemathesis/', import.meta.url).pathname;
/** Where .ci/run installs it. */
const OWN = new URL('../../../.ci/schemathesis/bin/schemathesis', import.meta.url).pathname;
const PROGRAM = existsSync(OWN) ? OWN : 'schemathesis';
const missing = spawnSync(PROGRAM, ['--version']).status === 0 ? null : 'schemathesis is not installed';
const isLong = process.env.MILLRACE_TEST_LONG === '1';
const EXAMPLES_MAX = isLong ? 100 : 12;
/** Two minutes where nothing else runs. */
const MS_MAX = isLong ? 1_800_000 : 900_000;
const CHECKS = [
  'not_a_server_error',
  'status_code_conformance',
  'content_type_conformance',
  'response_headers_conformance',
  'response_schema_conformance',
  'negative_data_rejection',
];

/** What ends the session of who asks, or takes away the organisation that all others are asked about: run at the end,
 *  the organisation first. A refresh token that is used twice ends all sessions, too. */
const ENDING_ORGANISATION = ['POST /orgs/{id}/freeze', 'DELETE /orgs/{id}'];
const ENDING_SESSION = [
  'POST /tokens/refresh',
  'PUT /users/me/password',
  'PATCH /password',
  'POST /users/me/logout',
  'DELETE /users/me',
];

/** An answer that goes on until its client leaves. */
const UNENDING = ['GET /readings/live'];

describe.skipIf(missing !== null)(`Schemathesis${missing === null ? '' : ` (${missing})`}`, () => {
  const millrace = new Millrace();
  const directory = mkdtempSync(join(tmpdir(), 'millrace-schemathesis-'));
  let owner: () => Promise<Asker>;
  let administrator: () => Promise<Asker>;

  beforeAll(async () => {
    await millrace.start();
    const stranger = new Asker(async (request) => {
      const { pathname, search } = new URL(request.url);
      return fetch(new Request(millrace.url + pathname + search, request));
    });
    const password = readFileSync(join(millrace.directory, 'admin-password'), 'utf8').trim();
    administrator = await sessionOf(stranger, 'admin@millrace.local', password);
    await makeExampleOrganisation(stranger, await administrator(), millrace.directory);
    owner = await sessionOf(stranger, example.email, example.password);
  }, 240_000);
  afterAll(async () => {
    await millrace.dispose();
    rmSync(directory, { recursive: true, force: true });
  }, 120_000);

  /** @param chosen which operations, as options of the program */
  async function findsNothing(asker: Asker, phases: string, chosen: readonly string[]): Promise<void> {
    const words = [
      ...['--config-file', join(HERE, 'schemathesis.toml'), 'run', `${millrace.url}/openapi.json`],
      ...['-H', `Authorization: ${asker.headers.authorization}`, '--phases', phases, '--checks', CHECKS.join(',')],
      ...['--max-examples', String(EXAMPLES_MAX), '--seed', '1', '--workers', '1', '--continue-on-failure'],
      ...['--no-shrink', '--no-color', '--warnings', 'off', ...chosen],
    ];
    const environment = { SCHEMATHESIS_HOOKS: 'hooks', PYTHONPATH: HERE, PYTHONDONTWRITEBYTECODE: '1' };
    const { code, stdout, stderr } = await run([PROGRAM, ...words], environment, { msMax: MS_MAX, directory });
    expect(`${code === 0 ? '' : stdout.slice(-20_000)}${stderr}`, 'what it found').toBe('');
    expect(code).toBe(0);
  }

  const named = (option: string, names: readonly string[]): string[] => names.flatMap((name) => [option, name]);

  test(
    'finds neither faults nor answers that the document does not tell of, as an owner',
    async () => {
      const ending = [...ENDING_ORGANISATION, ...ENDING_SESSION, ...UNENDING];
      const asker = await owner();
      await findsNothing(asker, 'examples,coverage,fuzzing,stateful', named('--exclude-name', ending));
      // Else all that was found is that strangers are turned away.
      expect((await asker.call('GET', '/users/me')).status).toBe(200);
    },
    MS_MAX + 60_000,
  );

  test(
    'finds nothing in what ends an organisation, then in what ends a session',
    async () => {
      await findsNothing(await owner(), 'coverage,fuzzing', named('--include-name', ENDING_ORGANISATION));
      await findsNothing(await owner(), 'coverage,fuzzing', named('--include-name', ENDING_SESSION));
    },
    MS_MAX + 60_000,
  );

  // The last, since administrators may do away with the owner.
  test(
    'finds nothing as an administrator of the installation, in what is for those',
    async () => {
      const asker = await administrator();
      await findsNothing(asker, 'coverage,fuzzing', [
        ...['--include-path-regex', '^/(users|dead-letters|orgs)$|^/users/[{]id[}]'],
        ...named('--exclude-name', ENDING_SESSION),
      ]);
      expect((await asker.call('GET', '/users/me')).status).toBe(200);
    },
    MS_MAX + 60_000,
  );
});

/** A session that gives tokens: each is good for a quarter of an hour, so each pass begins with its own. To log in anew
 *  would have to wait, after a pass in which passwords were guessed. */
async function sessionOf(stranger: Asker, email: string, password: string): Promise<() => Promise<Asker>> {
  let { body } = await stranger.call('POST', '/tokens', { email, password });
  return async () => {
    const refreshed = await stranger.call('POST', '/tokens/refresh', { refresh_token: body.refresh_token });
    expect(refreshed.status).toBe(201);
    body = refreshed.body;
    return stranger.as(`Bearer ${body.token}`);
  };
}
