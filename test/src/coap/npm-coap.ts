import { Agent, type IncomingMessage, type ObserveReadStream, request } from 'coap';

const ANSWER_MS_MAX = 30_000;

export interface CoapAsked {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'DELETE' | 'FETCH';
  readonly uri: string;
  readonly payload?: string | Buffer;
  /** Content type, as the package names formats. */
  readonly format?: string;
}
/** @shape code: `2.05` */
export interface CoapTold {
  readonly code: string;
  readonly payload: Buffer;
  readonly headers: Readonly<Record<string, unknown>>;
}

export interface NpmObservation {
  /** Of whatever came last, a refusal too. */
  lastCode(): string;
  cancel(): void;
}

/** The npm package `coap` as a client, on a socket of its own. */
export class NpmCoap {
  readonly #agent = new Agent({ type: 'udp4' });

  ask(asked: CoapAsked): Promise<CoapTold> {
    return this.#request(asked, false, (response, resolve) => resolve(toldBy(response)));
  }

  /** @param onTold of the first answer too; not of a last word that is no 2.05: the package keeps that to itself */
  async observe(uri: string, onTold: (told: CoapTold) => void): Promise<NpmObservation> {
    return this.#request({ method: 'GET', uri }, true, (response, resolve) => {
      const stream = response as ObserveReadStream;
      onTold(toldBy(response));
      // The first answer comes as data as well.
      let first = true;
      stream.on('data', (payload: Buffer) => {
        if (!first) onTold({ ...toldBy(stream), payload });
        first = false;
      });
      resolve({ lastCode: () => stream.code, cancel: () => stream.close() });
    });
  }

  close(): void {
    this.#agent.close();
  }

  #request<T>(
    { method = 'POST', uri, payload, format }: CoapAsked,
    observe: boolean,
    onResponse: (response: IncomingMessage, resolve: (value: T) => void) => void,
  ): Promise<T> {
    const { hostname, port, pathname, search } = new URL(uri.replace(/^coap:/, 'http:'));
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no answer: ${method} ${pathname}`)), ANSWER_MS_MAX);
      const outgoing = request({
        hostname,
        port: Number(port),
        method,
        pathname,
        query: search.slice(1),
        observe,
        agent: this.#agent,
        ...(format === undefined ? {} : { options: { 'Content-Format': format } }),
      });
      outgoing.on('error', (error: Error) => {
        clearTimeout(timer);
        reject(error);
      });
      outgoing.on('response', (response: IncomingMessage) => {
        clearTimeout(timer);
        response.on('error', () => {});
        onResponse(response, resolve);
      });
      outgoing.end(payload);
    });
  }
}

const toldBy = ({ code, payload, headers }: IncomingMessage): CoapTold => ({
  code,
  payload,
  headers: headers as Readonly<Record<string, unknown>>,
});
