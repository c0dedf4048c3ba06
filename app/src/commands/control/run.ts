import { type Client, type ClientOptions, createClient } from '@millrace/sdk';
import { idOf } from './entity.ts';
import { type ExitCode, Failure, failureOf, tell } from './failure.ts';
import { Output } from './output.ts';
import { type Connection, connectionOf } from './profiles.ts';
import type { Call, CommandSpecification } from './specification.ts';

const STOPPED = 130;
const STOP_MS_MAX = 1_000;

/** Runs a command.  @returns how the program ends */
export async function run(
  specification: CommandSpecification,
  words: Call['words'],
  options: Call['options'],
): Promise<ExitCode> {
  const stop = new AbortController();
  const end = (): void => {
    stop.abort(new Failure(1, 'Stopped.'));
    // What does not listen to the signal has nothing that must be ended well.
    setTimeout(() => process.exit(STOPPED), STOP_MS_MAX).unref();
  };
  process.once('SIGINT', end);
  process.once('SIGTERM', end);
  // Whoever reads us has read enough, as `head` does.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
  const opened: Client[] = [];
  try {
    await specification.run(callOf(words, options, stop.signal, opened));
    // A command may have told bad news, without having failed.
    return process.exitCode === 1 ? 1 : 0;
  } catch (error) {
    const failure = failureOf(error);
    process.stderr.write(tell(failure));
    return failure.exitCode;
  } finally {
    await Promise.all(opened.map((client) => client.close().catch(() => undefined)));
  }
}

function callOf(words: Call['words'], options: Call['options'], signal: AbortSignal, opened: Client[]): Call {
  const output = new Output({ json: options.json === true, wide: options.wide === true });
  const flags = { url: options.url as string, profile: options.profile as string, org: options.org as string };
  let known: Connection | undefined;
  const connection = (): Connection => {
    known ??= connectionOf(flags);
    return known;
  };
  const open = (more: Partial<ClientOptions>): Client => {
    const client = createClient({
      url: connection().url,
      timeoutMs: Number(options.timeout ?? 30) * 1_000,
      ...more,
    });
    opened.push(client);
    return client;
  };
  let client: Promise<Client> | undefined;
  const call: Call = {
    words,
    options,
    output,
    signal,
    connection: async () => connection(),
    client() {
      client ??= clientOf(connection(), open);
      return client;
    },
    clientWith: async (auth) => open(auth),
    async org() {
      const { transport, users } = await call.client();
      if (transport.org !== undefined) return transport.org;
      const { orgs } = await users.me();
      const [first] = (orgs ?? []) as { id: string }[];
      if (first === undefined)
        throw new Failure(4, 'You are a member of no organisation.', 'Make one (millrace orgs create), or give --org.');
      return first.id;
    },
  };
  return call;
}

async function clientOf(connection: Connection, open: (more: Partial<ClientOptions>) => Client): Promise<Client> {
  const { token, store, credentials } = connection;
  const auth: Partial<ClientOptions> =
    token !== undefined
      ? { token }
      : store === undefined
        ? {}
        : { tokens: store, ...(credentials === undefined ? {} : { credentials }) };
  if (token === undefined && store === undefined)
    throw new Failure(3, `Not logged in to ${connection.url}.`, 'Log in: millrace login, or set MILLRACE_TOKEN.');
  if (connection.org === undefined) return open(auth);
  const org = await idOf(open(auth).orgs, 'organisation', connection.org);
  return open({ ...auth, org });
}
