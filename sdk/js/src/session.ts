/** How a client says who it is; one of these (`credentials` may stand beside `tokens`, for when those are void). */
export interface AuthOptions {
  /** Access token of a user, a thing or an application. */
  readonly token?: string;
  /** With `token`: to get the next one by itself. */
  readonly refreshToken?: string;
  /** Key of a thing. MQTT needs its id too. */
  readonly key?: string;
  /** Id of the thing whose key this is. */
  readonly thing?: string;
  /** API key, `mrk_…`. */
  readonly apiKey?: string;
  readonly credentials?: { readonly email: string; readonly password: string };
  /** Where tokens are kept beyond this client: as a profile file shared with other programs. */
  readonly tokens?: TokenStore;
}

export interface Tokens {
  readonly token: string;
  readonly refreshToken?: string;
}

/** Keeps tokens. A refresh token is good once, and using it twice ends the session: who shares one must take turns. */
export interface TokenStore {
  load(): Promise<Tokens | null> | Tokens | null;
  save(tokens: Tokens): Promise<void> | void;
  /** Runs one task at a time among all who share the store. */
  exclusively?<T>(task: () => Promise<T>): Promise<T>;
}

/** What the session asks of the platform. */
export interface TokenSource {
  logIn(email: string, password: string): Promise<Tokens>;
  /** @throws MillraceApiError 401 when the refresh token is of no use any more */
  refresh(refreshToken: string): Promise<Tokens>;
}

/** What a socket shows instead of a header. */
export interface SocketCredential {
  readonly key?: string;
  readonly token?: string;
}

/** Before its end a token is renewed: clocks differ, and requests take time. @units ms */
const EARLY_MS = 15_000;

/** Knows what to show, and renews it. One renewal at a time, however many requests wait for it. */
export class Session {
  readonly #source: TokenSource;
  readonly #store: TokenStore | null;
  readonly #options: AuthOptions;
  #current: Tokens | null = null;
  #renewing: Promise<Tokens | null> | null = null;

  constructor(options: AuthOptions, source: TokenSource) {
    const { token, key, apiKey, credentials, tokens: store } = options;
    if ([token, key, apiKey, credentials ?? store].filter((kind) => kind !== undefined).length > 1)
      throw new TypeError('Give one of token, key, apiKey, and credentials or tokens.');
    this.#options = options;
    this.#source = source;
    this.#store = options.tokens ?? null;
    if (token !== undefined) {
      const { refreshToken } = options;
      this.#current = { token, ...(refreshToken === undefined ? {} : { refreshToken }) };
    }
  }

  get thing(): string | null {
    return this.#options.thing ?? null;
  }

  /** The Authorization header; null: a stranger. */
  async authorization(): Promise<string | null> {
    const { key, apiKey } = this.#options;
    if (key !== undefined) return `Thing ${key}`;
    if (apiKey !== undefined) return `Bearer ${apiKey}`;
    const tokens = await this.#tokens();
    return tokens === null ? null : `Bearer ${tokens.token}`;
  }

  async socketCredential(): Promise<SocketCredential> {
    const { key, apiKey } = this.#options;
    if (key !== undefined) return { key };
    const token = apiKey ?? (await this.#tokens())?.token;
    return token === undefined ? {} : { token };
  }

  /** After a 401.  @param refused the header that was refused  @returns whether there is another one now */
  async renew(refused: string | null): Promise<boolean> {
    if (this.#options.key !== undefined || this.#options.apiKey !== undefined) return false;
    if (this.#current !== null && refused !== `Bearer ${this.#current.token}`) return true;
    const before = this.#current?.token;
    const tokens = await this.#renewed().catch(() => null);
    return tokens !== null && tokens.token !== before;
  }

  /** Others have changed what the store holds, or this client's user has. */
  async take(tokens: Tokens | null): Promise<void> {
    this.#current = tokens;
    if (tokens !== null) await this.#store?.save(tokens);
  }

  get tokens(): Tokens | null {
    return this.#current;
  }

  async #tokens(): Promise<Tokens | null> {
    this.#current ??= (await this.#store?.load()) ?? null;
    if (this.#current === null) return this.#options.credentials === undefined ? null : this.#renewed();
    if (!endsWithin(this.#current.token, EARLY_MS)) return this.#current;
    const canRenew = this.#current.refreshToken !== undefined || this.#options.credentials !== undefined;
    // What can't be renewed is shown as it is: whether it still holds is for the platform to say.
    return canRenew ? ((await this.#renewed().catch(() => null)) ?? this.#current) : this.#current;
  }

  #renewed(): Promise<Tokens | null> {
    this.#renewing ??= this.#renewOnce().finally(() => {
      this.#renewing = null;
    });
    return this.#renewing;
  }

  async #renewOnce(): Promise<Tokens | null> {
    const exchange = async (): Promise<Tokens | null> => {
      const stored = (await this.#store?.load()) ?? null;
      // Another program was faster.
      if (stored !== null && stored.token !== this.#current?.token && !endsWithin(stored.token, EARLY_MS)) {
        this.#current = stored;
        return stored;
      }
      const refreshToken = stored?.refreshToken ?? this.#current?.refreshToken;
      const tokens = await this.#obtain(refreshToken);
      if (tokens !== null) await this.take(tokens);
      return tokens;
    };
    return this.#store?.exclusively === undefined ? exchange() : this.#store.exclusively(exchange);
  }

  async #obtain(refreshToken: string | undefined): Promise<Tokens | null> {
    const { credentials } = this.#options;
    if (refreshToken !== undefined) {
      try {
        return await this.#source.refresh(refreshToken);
      } catch (error) {
        if (credentials === undefined || (error as { status?: number }).status !== 401) throw error;
      }
    }
    return credentials === undefined ? null : this.#source.logIn(credentials.email, credentials.password);
  }
}

/** Whether a JWT's end is nearer than that; false for what tells no end. */
function endsWithin(token: string, ms: number): boolean {
  const [, payload = ''] = token.split('.');
  try {
    const { exp } = JSON.parse(atob(payload.replaceAll('-', '+').replaceAll('_', '/'))) as { exp?: unknown };
    return typeof exp === 'number' && exp * 1_000 - Date.now() < ms;
  } catch {
    return false;
  }
}
