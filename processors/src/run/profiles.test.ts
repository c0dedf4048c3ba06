import type { ChannelProfile, Directory, DirectoryChange } from '@millrace/core';
import { beforeEach, describe, expect, test } from 'vitest';
import { Profiles } from './profiles.ts';

let profileOf: (channel: string) => Promise<ChannelProfile | null>;
let asked: string[];
let told: (change: Partial<DirectoryChange>) => void;
let profiles: Profiles;

beforeEach(() => {
  asked = [];
  profileOf = async () => ({});
  const listeners = new Set<(change: DirectoryChange) => void>();
  told = (change) => {
    for (const listener of listeners)
      listener({ version: 1, entity: 'channel', id: '', org: null, voids: [], ...change });
  };
  profiles = new Profiles({
    channel: async (id: string) => {
      asked.push(id);
      const profile = await profileOf(id);
      if (profile === null) return null;
      return { id, org: 'org', enabled: true, alias: null, contentType: null, groups: [], limits: {}, profile };
    },
    onChange: (listener: (change: DirectoryChange) => void) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  } as unknown as Directory);
});

const resolve = async (...channels: string[]) =>
  (await profiles.resolve(channels.map((channel) => ({ channel, org: 'org' })))).profiles;

describe('profiles of channels', () => {
  test('are asked for once, also by many at a time', async () => {
    profileOf = async (id) => (id === 'a' ? { keepRaw: true } : {});
    const [first] = await Promise.all([resolve('a', 'b'), resolve('b', 'a')]);
    expect(first).toEqual([
      { channel: 'a', profile: { keepRaw: true } },
      { channel: 'b', profile: null },
    ]);
    await resolve('a', 'b');
    expect(asked).toEqual(['a', 'b']);
  });

  test('are none for a channel that is gone', async () => {
    profileOf = async () => null;
    expect(await resolve('a')).toEqual([{ channel: 'a', profile: null }]);
  });

  test('are asked for again after a change of the channel, under another version', async () => {
    await resolve('a', 'b');
    const { version } = profiles;
    profileOf = async () => ({ retentionDays: 1 });
    told({ id: 'a' });
    expect(profiles.version).toBeGreaterThan(version);
    expect(await resolve('a', 'b')).toEqual([
      { channel: 'a', profile: { retentionDays: 1 } },
      { channel: 'b', profile: null },
    ]);
    told({ entity: 'group', id: 'g', voids: ['b'] });
    told({ entity: 'org', id: 'o', voids: ['*'] });
    await resolve('a', 'b');
    expect(asked).toEqual(['a', 'b', 'a', 'a', 'b']);
  });

  test('are not voided by changes of channels that nobody asked for', async () => {
    await resolve('a');
    const { version } = profiles;
    told({ id: 'new' });
    told({ entity: 'thing', id: 'thing', voids: ['thing'] });
    expect(profiles.version).toBe(version);
  });

  test('that change while they are read are not kept', async () => {
    let release: (profile: ChannelProfile) => void = () => undefined;
    profileOf = () =>
      new Promise((given) => {
        release = given;
      });
    const { version } = profiles;
    const early = profiles.resolve([{ channel: 'a', org: 'org' }]);
    await Promise.resolve();
    told({ id: 'a' });
    release({ keepRaw: true });
    // Whoever keeps it does so under the version before the change.
    expect((await early).version).toBe(version);
    expect(profiles.version).toBeGreaterThan(version);
    profileOf = async () => ({});
    expect(await resolve('a')).toEqual([{ channel: 'a', profile: null }]);
  });

  test('of the others are kept when one can not be asked for', async () => {
    profileOf = async (id) => {
      if (id === 'a') throw new Error('away');
      return {};
    };
    await expect(resolve('a', 'b')).rejects.toThrow('away');
    profileOf = async () => ({});
    await resolve('a', 'b');
    expect(asked).toEqual(['a', 'b', 'a']);
  });

  test('are asked for a few at a time', async () => {
    let under = 0;
    let most = 0;
    profileOf = async () => {
      most = Math.max(most, ++under);
      await new Promise((done) => setImmediate(done));
      under--;
      return {};
    };
    await resolve(...Array.from({ length: 500 }, (_, index) => `c${index}`));
    expect(asked).toHaveLength(500);
    expect(most).toBeLessThanOrEqual(16);
  });
});
