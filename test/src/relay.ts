import { createServer, connect as dial, type Server, type Socket } from 'node:net';

/** A wire to another port, with the faults of a network: it can be held, be slow, cut connections and let none in. */
export class Relay {
  readonly #target: number | string;
  readonly #server: Server;
  /** Those that came in, not those that lead on. */
  readonly #sockets = new Set<Socket>();
  readonly #ways = new Set<Way>();
  #held = false;
  #shut = false;
  #latencyMs = 0;

  private constructor(target: number | string) {
    this.#target = target;
    this.#server = createServer((socket) => this.#join(socket));
  }

  /** @param target a port, or the path of a Unix socket
   *  @param port of its own; 0 takes a free one */
  static async to(target: number | string, port = 0): Promise<Relay> {
    const relay = new Relay(target);
    await new Promise<void>((resolve, reject) => {
      relay.#server.once('error', reject).listen(port, '127.0.0.1', resolve);
    });
    return relay;
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  /** How much is held back. */
  get keptCount(): number {
    let count = 0;
    for (const way of this.#ways) count += way.waitingCount;
    return count;
  }

  /** Connections stay open, and are taken, and carry nothing: as with a peer that hangs, or packets that vanish. */
  hold(): void {
    this.#held = true;
  }

  /** Lets go. What was held back goes on its way. */
  release(): void {
    this.#held = false;
    for (const way of this.#ways) way.go();
  }

  /** Answers take so much longer from now on. */
  delay(latencyMs: number): void {
    this.#latencyMs = latencyMs;
  }

  /** Cuts a share of the connections as they are now, by RST.  @returns how many */
  cut(share: number, random: () => number): number {
    const cut = [...this.#sockets].filter(() => random() < share);
    for (const socket of cut) socket.resetAndDestroy();
    return cut.length;
  }

  /** Cuts all connections and refuses new ones until `open`. */
  shut(): void {
    this.#shut = true;
    this.cut(1, () => 0);
  }

  open(): void {
    this.#shut = false;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #join(socket: Socket): void {
    if (this.#shut) {
      socket.resetAndDestroy();
      return;
    }
    const target = this.#target;
    const other = typeof target === 'string' ? dial(target) : dial(target, '127.0.0.1');
    // Whoever hurries must not wait for a timer of the kernel's.
    socket.setNoDelay(true);
    other.setNoDelay(true);
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    this.#carry(socket, other, () => 0);
    this.#carry(other, socket, () => this.#latencyMs);
  }

  #carry(from: Socket, to: Socket, latencyMs: () => number): void {
    const way = new Way(() => this.#held, latencyMs);
    this.#ways.add(way);
    from.on('data', (bytes) => way.carry(() => to.write(bytes)));
    from.on('end', () => way.carry(() => to.end()));
    from.on('error', () => to.destroy());
    from.on('close', () => {
      this.#ways.delete(way);
      way.end();
      to.destroy();
    });
  }
}

/** One direction of one connection: what goes in comes out in the same order. */
class Way {
  readonly #isHeld: () => boolean;
  readonly #latencyMs: () => number;
  #waiting: { readonly at: number; readonly pass: () => void }[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(isHeld: () => boolean, latencyMs: () => number) {
    this.#isHeld = isHeld;
    this.#latencyMs = latencyMs;
  }

  get waitingCount(): number {
    return this.#waiting.length;
  }

  carry(pass: () => void): void {
    const latencyMs = this.#latencyMs();
    if (latencyMs === 0 && this.#waiting.length === 0 && !this.#isHeld()) {
      pass();
      return;
    }
    this.#waiting.push({ at: performance.now() + latencyMs, pass });
    this.go();
  }

  /** Passes on what is due. */
  go(): void {
    clearTimeout(this.#timer);
    const now = performance.now();
    while (!this.#isHeld()) {
      const first = this.#waiting[0];
      if (first === undefined) return;
      if (first.at > now) {
        this.#timer = setTimeout(() => this.go(), first.at - now + 1);
        return;
      }
      this.#waiting.shift();
      first.pass();
    }
  }

  /** What was under way is lost. */
  end(): void {
    clearTimeout(this.#timer);
    this.#waiting = [];
  }
}
