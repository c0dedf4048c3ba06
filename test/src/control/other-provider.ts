import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import Provider, { type AccountClaims, interactionPolicy } from 'oidc-provider';

export interface OtherProvider {
  readonly issuer: string;
  readonly clientId: string;
  readonly secret: string;
  /** Whoever logs in next there. */
  person: AccountClaims;
  /** Turns logins away, as people do who change their mind. */
  refuses: boolean;
  /** Is there no more; comes back at the same address. */
  stop(): Promise<void>;
  start(): Promise<void>;
}

/** Another OpenID Connect provider: the same library, in memory, where everybody is who the test says.
 *  @param callback where it may send browsers back to */
export async function startOtherProvider(callback: string): Promise<OtherProvider> {
  let server: Server = createServer();
  let port = 0;
  const listen = async (): Promise<void> => {
    await new Promise<void>((resolve) => {
      server.listen(port, '127.0.0.1', resolve);
    });
    port = (server.address() as AddressInfo).port;
  };
  await listen();
  const issuer = `http://127.0.0.1:${port}`;
  const people = new Map<string, AccountClaims>();
  const provider = new Provider(issuer, {
    clients: [{ client_id: 'millrace', client_secret: 'a secret of theirs', redirect_uris: [callback] }],
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
    features: { devInteractions: { enabled: false } },
    interactions: { policy: interactionPolicy.base(), url: (_, { uid }) => `/interaction/${uid}` },
    findAccount: (_, id) => {
      const claims = people.get(id);
      return claims === undefined ? undefined : { accountId: id, claims: () => claims };
    },
    cookies: { keys: ['a key of theirs'] },
    pkce: { required: () => true },
  });
  const callbackOf = provider.callback();
  const other: OtherProvider = {
    issuer,
    clientId: 'millrace',
    secret: 'a secret of theirs',
    person: { sub: 'nobody' },
    refuses: false,
    start: async () => {
      server = createServer(serve);
      await listen();
    },
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  const serve: Parameters<typeof createServer>[1] & object = (request, response) => {
    if (request.url?.startsWith('/interaction/') !== true) {
      callbackOf(request, response);
      return;
    }
    const finish = async (): Promise<void> => {
      const { prompt, params, session } = await provider.interactionDetails(request, response);
      if (other.refuses) return provider.interactionFinished(request, response, { error: 'access_denied' });
      if (prompt.name === 'login') {
        people.set(other.person.sub, other.person);
        return provider.interactionFinished(request, response, { login: { accountId: other.person.sub } });
      }
      const grant = new provider.Grant({
        accountId: session?.accountId ?? '',
        clientId: String(params.client_id),
      });
      grant.addOIDCScope(String(params.scope));
      const grantId = await grant.save();
      return provider.interactionFinished(request, response, { consent: { grantId } });
    };
    finish().catch((error: unknown) => {
      response.writeHead(500);
      response.end(String(error));
    });
  };
  server.on('request', serve);
  return other;
}
