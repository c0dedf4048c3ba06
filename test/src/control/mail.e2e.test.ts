import type { AddressInfo } from 'node:net';
import { SMTPServer } from 'smtp-server';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Mailbox, WAIT_MS } from './mailbox.ts';
import { type ControlPlane, startControlPlane } from './plane.ts';

let plane: ControlPlane;
const servers: Server[] = [];

beforeAll(async () => {
  plane = await startControlPlane();
});
afterEach(async () => {
  for (const server of servers.splice(0)) await server.stop();
});
afterAll(() => plane?.dispose());

/** A real mail server on a port of its own. */
class Server {
  readonly mails: { readonly to: string; readonly text: string }[] = [];
  readonly #server: SMTPServer;

  private constructor(refuse: (to: string) => { responseCode: number } | null) {
    this.#server = new SMTPServer({
      disabledCommands: ['STARTTLS'],
      authOptional: true,
      onAuth: ({ username, password }, _, done) =>
        username === 'mill@example.org' && password === 'se:cret/'
          ? done(null, { user: username })
          : done(new Error('wrong password')),
      onRcptTo: ({ address }, _, done) => {
        const refusal = refuse(address);
        done(refusal === null ? null : Object.assign(new Error('no'), refusal));
      },
      onData: (stream, { envelope }, done) => {
        const chunks: Buffer[] = [];
        stream.on('data', (chunk: Buffer) => chunks.push(chunk));
        stream.on('end', () => {
          const text = Buffer.concat(chunks).toString('utf8');
          for (const { address } of envelope.rcptTo) this.mails.push({ to: address, text });
          done();
        });
      },
    });
    this.#server.on('error', () => undefined);
  }

  static async start(port = 0, refuse: (to: string) => { responseCode: number } | null = () => null): Promise<Server> {
    const server = new Server(refuse);
    await new Promise<void>((resolve, reject) => {
      server.#server.on('error', reject);
      server.#server.listen(port, '127.0.0.1', resolve);
    });
    servers.push(server);
    return server;
  }

  get port(): number {
    return (this.#server.server.address() as AddressInfo).port;
  }

  stop(): Promise<void> {
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  to = (address: string): number => this.mails.filter(({ to }) => to === address).length;
}

const smtp = (port: number) => ({ MILLRACE_SMTP_URL: `smtp://mill%40example.org:se%3Acret%2F@127.0.0.1:${port}` });
const waits = (what: () => unknown) => expect.poll(what, { timeout: WAIT_MS });

describe('mails', () => {
  test('go to the mail server, with the sender and the links of the configuration', async () => {
    const server = await Server.start();
    const settings = {
      MILLRACE_MAIL_FROM: 'The Mill <mill@example.org>',
      MILLRACE_PUBLIC_URL: 'https://iot.example.org/',
    };
    const node = await plane.node({ ...smtp(server.port), ...settings });
    await node.stranger.newUser('ada@example.org');
    await waits(() => server.to('ada@example.org')).toBe(1);
    const text = (server.mails[0]?.text ?? '').replaceAll('=\r\n', '').replaceAll('=3D', '=');
    expect(text).toContain('From: The Mill <mill@example.org>');
    expect(text).toContain('Auto-Submitted: auto-generated');
    const [, token] = /https:\/\/iot\.example\.org\/account\/verify#token=([\w-]{43})/.exec(text) ?? [];
    expect((await node.stranger.call('POST', '/users/verify', { token })).status).toBe(200);
    await node.stop();
  });

  test('wait while the server is away, hold up no request, and come when it is back: once', async () => {
    const first = await Server.start();
    const { port } = first;
    await first.stop();
    const node = await plane.node(smtp(port));
    for (let index = 0; index < 3; index++) await node.stranger.newUser(`patient${index}@example.org`);
    const retried = () => node.registry.mails.waiting();
    await waits(async () => (await retried()).tried).toBeGreaterThan(0);
    const second = await Server.start(port);
    for (let index = 0; index < 3; index++) await waits(() => second.to(`patient${index}@example.org`)).toBe(1);
    await waits(async () => (await retried()).count).toBe(0);
    expect(second.mails).toHaveLength(3);
    await node.stop();
  });

  test('that were written before a node died are sent by another, and by one of two alone', async () => {
    const first = await Server.start();
    const { port } = first;
    await first.stop();
    const dying = await plane.node(smtp(port));
    await dying.stranger.newUser('survivor@example.org');
    await dying.stop();
    const server = await Server.start(port);
    const nodes = [await plane.node(smtp(port)), await plane.node(smtp(port))];
    await waits(() => server.to('survivor@example.org')).toBe(1);
    for (let index = 0; index < 10; index++) await nodes[index % 2]?.stranger.newUser(`many${index}@example.org`);
    for (let index = 0; index < 10; index++) await waits(() => server.to(`many${index}@example.org`)).toBe(1);
    await waits(async () => (await nodes[0]?.registry.mails.waiting())?.count).toBe(0);
    expect(server.mails).toHaveLength(11);
    for (const node of nodes) await node.stop();
  });

  test('that the server refuses for good are given up; the others are not held up', async () => {
    const server = await Server.start(0, (to) => (to.startsWith('bad') ? { responseCode: 550 } : null));
    const node = await plane.node(smtp(server.port));
    await node.stranger.newUser('bad@example.org');
    await node.stranger.newUser('good@example.org');
    await waits(() => server.to('good@example.org')).toBe(1);
    await waits(async () => (await node.registry.mails.waiting()).count).toBe(0);
    expect(server.to('bad@example.org')).toBe(0);
    await node.stop();
  });

  test('without a server become files that only we may read', async () => {
    const node = await plane.node();
    await node.stranger.newUser('filed@example.org');
    const mailbox = new Mailbox(plane.directory);
    expect(await mailbox.token('filed@example.org', 'verify')).toMatch(/^[\w-]{43}$/);
    const { folder, files } = mailbox.modes();
    expect([folder, ...new Set(files)]).toEqual([0o700, 0o600]);
    await node.stop();
  });

  test('lead to pages that need nothing from elsewhere and let nothing else run', async () => {
    const node = await plane.node();
    for (const path of ['verify', 'reset', 'invitation']) {
      const page = await node.stranger.call('GET', `/account/${path}`);
      expect([page.status, page.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8']);
      const policy = page.headers.get('content-security-policy') ?? '';
      expect(policy).toMatch(
        /^default-src 'none'; script-src 'sha256-[^ ]+'; style-src 'sha256-[^ ]+'; connect-src 'self'/,
      );
      expect(policy).not.toContain('unsafe');
      expect([page.headers.get('referrer-policy'), page.headers.get('cache-control')]).toEqual([
        'no-referrer',
        'no-store',
      ]);
      expect(page.body).not.toMatch(/\b(?:src|href|action)=/);
    }
    expect((await node.stranger.call('GET', '/account/other')).status).toBe(404);
    await node.stop();
  });
});
