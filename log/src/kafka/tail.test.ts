import { expect, test } from 'vitest';
import type { KafkaReader } from './client.ts';
import { Tail } from './tail.ts';

function openTail(): { tail: Tail; told: string[]; fail: (error: Error) => void } {
  const told: string[] = [];
  let serial = 0;
  let failing: Error | null = null;
  const open = async (): Promise<KafkaReader> => {
    if (failing !== null) throw failing;
    const name = ++serial;
    told.push(`open ${name}`);
    return {
      read: async (partition) => {
        told.push(`read ${name}/${partition}`);
        return null;
      },
      rest: (partition) => void told.push(`rest ${name}/${partition}`),
      stop: async () => void told.push(`stop ${name}`),
    };
  };
  return { tail: new Tail(open), told, fail: (error) => (failing = error) };
}

test('partitions that are followed one after the other share a reader, which ends with the last of them', async () => {
  const { tail, told } = openTail();
  const [one, two] = [await tail.take(1), await tail.take(2)];
  await two.read(0, { bytesMax: 1, waitMsMax: 0 }, []);
  await one.leave();
  await one.leave();
  const again = await tail.take(1);
  await Promise.all([two.leave(), again.leave()]);
  expect(told).toEqual(['open 1', 'read 1/2', 'rest 1/1', 'rest 1/2', 'rest 1/1', 'stop 1']);
});

test('who follows a partition that is taken gets a reader to itself', async () => {
  const { tail, told } = openTail();
  const seats = [await tail.take(1), await tail.take(1), await tail.take(2)];
  await Promise.all(seats.map((seat) => seat.leave()));
  expect(told.filter((each) => each.startsWith('open'))).toEqual(['open 1', 'open 2']);
  expect(told.filter((each) => each.startsWith('stop')).toSorted()).toEqual(['stop 1', 'stop 2']);
});

test('a reader that could not be had is not kept for the next', async () => {
  const { tail, told, fail } = openTail();
  fail(new Error('away'));
  await expect(tail.take(1)).rejects.toMatchObject({ code: 'LOG_UNREACHABLE' });
  fail(null as never);
  await (await tail.take(1)).leave();
  expect(told).toEqual(['open 1', 'rest 1/1', 'stop 1']);
});
