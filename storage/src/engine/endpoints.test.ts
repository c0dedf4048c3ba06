import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { readConfig } from '@millrace/core';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { StorageConfig } from '../config.ts';
import { Connection, entryPoints } from './connection.ts';
import { Endpoints } from './endpoints.ts';
import { replicaUrl } from './topology.ts';

/** A server over HTTP that says what a test wants it to. */
class Stub {
  asked = 0;
  pinged = 0;
  answer: (() => readonly [number, string]) | null = () => [200, ''];
  readonly #server: Server;
  constructor() {
    this.#server = createServer((request, response) => {
      request.resume();
      const ping = request.url?.startsWith('/ping') === true;
      if (ping) this.pinged++;
      else this.asked++;
      if (this.answer === null) return;
      const [status, text] = ping ? ([200, 'Ok.\n'] as const) : this.answer();
      response.writeHead(status).end(text);
    });
  }
  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`;
  }
  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

let stubs: Stub[];
let endpoints: Endpoints;
const command = (start = 0, fence?: () => Promise<void>) =>
  endpoints.ask((connection) => connection.command('SELECT 1'), start, fence);
const askedOf = () => stubs.map((stub) => stub.asked);

beforeEach(async () => {
  stubs = [new Stub(), new Stub(), new Stub()];
  const access = { username: 'u', password: 'p', database: 'd', connectionsMax: 2, requestMsMax: 5_000 };
  endpoints = new Endpoints(
    await Promise.all(stubs.map(async (stub) => new Connection(await stub.listen(), access))),
    60_000,
  );
});
afterEach(async () => {
  for (const connection of endpoints.connections) await connection.close();
  for (const stub of stubs) stub.close();
});

test('asks the same one while it is well, and each as the first if that is wanted', async () => {
  for (let count = 0; count < 3; count++) await command();
  expect(askedOf()).toEqual([3, 0, 0]);
  await command(4);
  expect(askedOf()).toEqual([3, 1, 0]);
});

test.each([
  ['is overloaded', 503, 'busy'],
  ['has lost Keeper', 500, 'Code: 242. DB::Exception: read only. (TABLE_IS_READ_ONLY)'],
  ['does not know what became of an insert', 500, 'Code: 319. DB::Exception: x. (UNKNOWN_STATUS_OF_INSERT)'],
])('asks the next when one %s', async (_, status, text) => {
  (stubs[0] as Stub).answer = () => [status, text];
  await command();
  expect(askedOf()).toEqual([1, 1, 0]);
  expect(endpoints.connections[0]?.failing).toBe(true);
  expect(await endpoints.answers()).toBe(true);
});

test('does not take elsewhere what is wrong in itself', async () => {
  (stubs[0] as Stub).answer = () => [400, 'Code: 62. DB::Exception: Syntax error. (SYNTAX_ERROR)'];
  await expect(command()).rejects.toMatchObject({ code: '62' });
  expect(askedOf()).toEqual([1, 0, 0]);
  expect(endpoints.connections[0]?.failing).toBe(false);
});

test('asks nothing of one that takes connections and does not answer', { timeout: 40_000 }, async () => {
  (stubs[0] as Stub).answer = null;
  await command();
  expect(askedOf()).toEqual([0, 1, 0]);
  expect(stubs[0]?.pinged).toBe(1);
});

test('says what the last one said when all fail, and comes back to them', { timeout: 40_000 }, async () => {
  for (const stub of stubs) stub.answer = () => [500, 'Code: 999. DB::Exception: x. (KEEPER_EXCEPTION)'];
  await expect(command()).rejects.toMatchObject({ code: '999' });
  expect(askedOf()).toEqual([1, 1, 1]);
  expect(endpoints.connections.every((connection) => connection.failing)).toBe(true);
  // They are there, whatever they say.
  expect(await endpoints.answers()).toBe(true);
  for (const stub of stubs) stub.answer = () => [200, ''];
  await command();
  expect(endpoints.connections.some((connection) => !connection.failing)).toBe(true);
  for (const stub of stubs) stub.close();
  await expect(command()).rejects.toThrow();
  expect(await endpoints.answers()).toBe(false);
});

test('lets the fence end it before each try, and blames no server', async () => {
  (stubs[0] as Stub).answer = () => [503, 'busy'];
  let passed = 0;
  const fence = async (): Promise<void> => {
    if (++passed > 1) throw new Error('the range is lost');
  };
  await expect(command(0, fence)).rejects.toThrow('the range is lost');
  expect(askedOf()).toEqual([1, 0, 0]);
  expect(endpoints.connections[1]?.failing).toBe(false);
});

test('takes several entry points of one user, and keeps the password out of addresses', () => {
  const points = entryPoints('http://u:s%40cret@a:8123, http://b:8123/');
  expect(points).toEqual({ urls: ['http://a:8123/', 'http://b:8123/'], username: 'u', password: 's@cret' });
  for (const wrong of ['ftp://a', 'http://u:x@a,http://v:y@b', 'http://a,', 'nothing'])
    expect(() => readConfig(StorageConfig, { MILLRACE_CLICKHOUSE_URL: wrong })).toThrow(/http or https/);
});

test('speaks to a replica as to the entry point that it is, or else as to the first', () => {
  const entries = ['https://a.example:8443/', 'http://10.0.0.2:18123/'];
  expect(replicaUrl({ name: 'a.example', address: '10.0.0.1' }, entries)).toBe('https://a.example:8443/');
  expect(replicaUrl({ name: 'b.example', address: '10.0.0.2' }, entries)).toBe('http://10.0.0.2:18123/');
  expect(replicaUrl({ name: 'c.example', address: '10.0.0.3' }, entries)).toBe('https://c.example:8443/');
  expect(replicaUrl({ name: 'fd00::1', address: 'fd00::1' }, ['http://a:8123/'])).toBe('http://[fd00::1]:8123/');
});
