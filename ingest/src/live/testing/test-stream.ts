export interface TestEvent {
  readonly id: string;
  readonly event: string;
  readonly data: string;
}

/** An event stream by `fetch`, read as WHATWG HTML says. */
export class TestStream {
  readonly headers: Readonly<Record<string, string>>;
  readonly events: TestEvent[] = [];
  comments = 0;
  lastId = '';
  ended = false;
  /** How it broke off; null: it did not. */
  fault: unknown = null;
  readonly #abort: AbortController;
  readonly #done: Promise<void>;

  private constructor(response: Response, abort: AbortController) {
    this.headers = Object.fromEntries(response.headers);
    this.#abort = abort;
    this.#done = this.#read(response);
  }

  /** @throws what was answered instead */
  static async open(url: string, headers: Readonly<Record<string, string>> = {}): Promise<TestStream> {
    const abort = new AbortController();
    const response = await fetch(url, { headers, signal: abort.signal });
    if (response.status !== 200) throw new Error(`${response.status} ${await response.text()}`);
    return new TestStream(response, abort);
  }

  get messages(): TestEvent[] {
    return this.events.filter(({ event }) => event === 'message');
  }

  async close(): Promise<void> {
    this.#abort.abort();
    await this.#done;
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #read(response: Response): Promise<void> {
    const decoder = new TextDecoder();
    let rest = '';
    try {
      for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
        rest += decoder.decode(chunk, { stream: true });
        for (let end = rest.indexOf('\n\n'); end >= 0; end = rest.indexOf('\n\n')) {
          this.#take(rest.slice(0, end));
          rest = rest.slice(end + 2);
        }
      }
    } catch (error) {
      if (!this.#abort.signal.aborted) this.fault = error;
    }
    this.ended = true;
  }

  #take(block: string): void {
    let event = 'message';
    const data: string[] = [];
    for (const line of block.split('\n')) {
      if (line.startsWith(':')) this.comments++;
      else if (line.startsWith('id: ')) this.lastId = line.slice(4);
      else if (line.startsWith('event: ')) event = line.slice(7);
      else if (line.startsWith('data: ')) data.push(line.slice(6));
    }
    if (data.length > 0) this.events.push({ id: this.lastId, event, data: data.join('\n') });
  }
}
