import { describe, expect, test } from 'vitest';
import { ORG } from '../testing/gate.ts';
import { KnownDevices } from './known-devices.ts';
import { MemoryDirectory } from './testing/memory-directory.ts';

const DEV_EUI = '0102030405060708';
const OTHER_ORG = '0197a000-0000-7000-8000-00000000aaaa';

describe('what is known of devices', () => {
  test('is asked for once, and again after a change of the organisation alone', async () => {
    const directory = new MemoryDirectory();
    const known = new KnownDevices(directory, 100);
    const id = directory.addThing(DEV_EUI);
    for (let asked = 0; asked < 3; asked++) expect(await known.device(ORG, DEV_EUI)).toMatchObject({ id });
    expect(directory.asked).toBe(1);
    directory.changed('devices', OTHER_ORG);
    await known.device(ORG, DEV_EUI);
    expect(directory.asked).toBe(1);
    directory.changed('devices', ORG);
    await known.device(ORG, DEV_EUI);
    await known.device(ORG, DEV_EUI);
    expect(directory.asked).toBe(2);
    directory.changed('devices', null);
    await known.device(ORG, DEV_EUI);
    expect(directory.asked).toBe(3);
  });

  test('is asked for once, however often somebody publishes to down/ of a channel that is none of an application', async () => {
    const directory = new MemoryDirectory();
    const known = new KnownDevices(directory, 100);
    for (let asked = 0; asked < 1_000; asked++) expect(await known.applicationOf(ORG, 'chan-7')).toBeNull();
    expect(directory.asked).toBe(1);
    directory.addChannel('7');
    expect(await known.applicationOf(ORG, 'chan-7')).toMatchObject({ applicationId: '7' });
  });

  test('is not kept where it was asked for before a change', async () => {
    const directory = new MemoryDirectory();
    const known = new KnownDevices(directory, 100);
    const early = known.device(ORG, DEV_EUI);
    const id = directory.addThing(DEV_EUI);
    await early;
    expect(await known.device(ORG, DEV_EUI)).toMatchObject({ id });
  });

  test('costs a change no look at all of it: a hundred thousand changes are told while much is known', async () => {
    const directory = new MemoryDirectory();
    const known = new KnownDevices(directory, 50_000);
    for (let device = 0; device < 50_000; device++)
      await known.device(OTHER_ORG, device.toString(16).padStart(16, '0'));
    const startMs = performance.now();
    for (let change = 0; change < 100_000; change++) directory.changed('devices');
    expect(performance.now() - startMs).toBeLessThan(20_000);
  }, 120_000);
});
