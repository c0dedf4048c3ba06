import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { expect, test } from 'vitest';
import { HandOver } from './hand-over.ts';
import type { Handed, WorkerProcess } from './worker-process.ts';

class FakeSocket extends EventEmitter {
  destroyed = false;
  destroy(): void {
    this.destroyed = true;
  }
}
class FakeWorker {
  ready = true;
  responsive = true;
  readonly handed: Handed[] = [];
  taken = 0;
  get untaken(): number {
    return this.handed.length - this.taken;
  }
  load(): number {
    return this.handed.length;
  }
  hand(handed: Handed): void {
    this.handed.push(handed);
  }
}
const connections = (count: number): FakeSocket[] => Array.from({ length: count }, () => new FakeSocket());
const handedOf = (socket: FakeSocket): Handed => ({ listener: 'http', socket: socket as unknown as Socket });

function handOver(workers: FakeWorker[]): { doors: HandOver; shed: () => number } {
  let shed = 0;
  const doors = new HandOver(
    () => workers as unknown as WorkerProcess[],
    () => {
      shed++;
    },
  );
  return { doors, shed: () => shed };
}

test('gives each connection to who has the fewest', () => {
  const workers = [new FakeWorker(), new FakeWorker(), new FakeWorker()];
  const { doors } = handOver(workers);
  for (const socket of connections(30)) doors.give(handedOf(socket));
  expect(workers.map(({ handed }) => handed.length)).toEqual([10, 10, 10]);
});

test('closes what comes when no worker takes anything, before the process has no files left', () => {
  const workers = [new FakeWorker(), new FakeWorker()];
  for (const worker of workers) worker.responsive = false;
  const { doors, shed } = handOver(workers);
  const sockets = connections(5_000);
  for (const socket of sockets) doors.give(handedOf(socket));
  expect(workers.reduce((sum, { handed }) => sum + handed.length, 0)).toBe(4_096);
  expect([shed(), sockets.filter(({ destroyed }) => destroyed).length]).toEqual([904, 904]);
  for (const worker of workers) worker.taken = worker.handed.length;
  const [later = new FakeSocket()] = connections(1);
  doors.give(handedOf(later));
  expect([later.destroyed, shed()]).toEqual([false, 904]);
});

test('keeps what comes while none is there, as many as may wait, for the first that is', () => {
  const worker = new FakeWorker();
  worker.ready = false;
  const { doors, shed } = handOver([worker]);
  for (const socket of connections(5_000)) doors.give(handedOf(socket));
  expect([worker.handed.length, shed()]).toEqual([0, 904]);
  worker.ready = true;
  doors.giveWaiting();
  expect([worker.handed.length, shed()]).toEqual([4_096, 904]);
});
