import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.eclipse.californium.core.config.CoapConfig;
import org.eclipse.californium.elements.config.Configuration;
import org.eclipse.californium.scandium.config.DtlsConfig;
import org.eclipse.leshan.client.LeshanClient;
import org.eclipse.leshan.client.LeshanClientBuilder;
import org.eclipse.leshan.client.engine.DefaultRegistrationEngineFactory;
import org.eclipse.leshan.client.object.Security;
import org.eclipse.leshan.client.object.Server;
import org.eclipse.leshan.client.observer.LwM2mClientObserverAdapter;
import org.eclipse.leshan.client.resource.BaseInstanceEnabler;
import org.eclipse.leshan.client.resource.ObjectsInitializer;
import org.eclipse.leshan.client.send.ManualDataSender;
import org.eclipse.leshan.client.servers.LwM2mServer;
import org.eclipse.leshan.core.LwM2mId;
import org.eclipse.leshan.core.ResponseCode;
import org.eclipse.leshan.core.model.ObjectLoader;
import org.eclipse.leshan.core.model.ObjectModel;
import org.eclipse.leshan.core.model.ResourceModel;
import org.eclipse.leshan.core.model.StaticModel;
import org.eclipse.leshan.core.node.LwM2mResource;
import org.eclipse.leshan.core.request.BootstrapRequest;
import org.eclipse.leshan.core.request.ContentFormat;
import org.eclipse.leshan.core.request.DeregisterRequest;
import org.eclipse.leshan.core.request.RegisterRequest;
import org.eclipse.leshan.core.request.UpdateRequest;
import org.eclipse.leshan.core.request.argument.Arguments;
import org.eclipse.leshan.core.response.ExecuteResponse;
import org.eclipse.leshan.core.response.ReadResponse;
import org.eclipse.leshan.core.response.WriteResponse;
import org.eclipse.leshan.core.util.Hex;
import org.eclipse.leshan.transport.californium.client.endpoint.CaliforniumClientEndpointsProvider;
import org.eclipse.leshan.transport.californium.client.endpoint.coap.CoapClientProtocolProvider;
import org.eclipse.leshan.transport.californium.client.endpoint.coaps.CoapsClientProtocolProvider;

/**
 * An LwM2M 1.1 client on Eclipse Leshan that does as it is told on standard input and says what happens on standard
 * output.
 *
 * <p>Words: coap[s]://host:port endpoint [--psk identity hexkey] [--cid n] [--lifetime s] [--queue] [--bootstrap].
 * Input: set CELSIUS | send json|cbor | update | quit.
 */
public class TestClient {
  static void say(String line) {
    System.out.println(line);
    System.out.flush();
  }

  static void pause(long ms) {
    try {
      Thread.sleep(ms);
    } catch (InterruptedException over) {
      Thread.currentThread().interrupt();
    }
  }

  public static class Temperature extends BaseInstanceEnabler {
    volatile double value = 20;

    void set(double to) {
      value = to;
      fireResourceChange(5700);
    }

    @Override
    public ReadResponse read(LwM2mServer server, int id) {
      return switch (id) {
        case 5700 -> ReadResponse.success(id, value);
        case 5701 -> ReadResponse.success(id, "Cel");
        default -> ReadResponse.notFound();
      };
    }

    @Override
    public ExecuteResponse execute(LwM2mServer server, int id, Arguments arguments) {
      say("EXECUTED /3303/0/" + id);
      return ExecuteResponse.success();
    }

    @Override
    public WriteResponse write(LwM2mServer server, boolean replace, int id, LwM2mResource resource) {
      say("WRITTEN /3303/0/" + id + " " + resource.getValue());
      return WriteResponse.success();
    }

    @Override
    public List<Integer> getAvailableResourceIds(ObjectModel model) {
      return Arrays.asList(5700, 5701, 5605, 5750);
    }
  }

  public static class Device extends BaseInstanceEnabler {
    @Override
    public ReadResponse read(LwM2mServer server, int id) {
      return switch (id) {
        case 0 -> ReadResponse.success(id, "Millrace");
        case 2 -> ReadResponse.success(id, "SN42");
        case 9 -> ReadResponse.success(id, 87L);
        case 11 -> ReadResponse.success(id, Map.of(0, 0L), ResourceModel.Type.INTEGER);
        case 16 -> ReadResponse.success(id, "U");
        default -> ReadResponse.notFound();
      };
    }

    @Override
    public ExecuteResponse execute(LwM2mServer server, int id, Arguments arguments) {
      say("EXECUTED /3/0/" + id);
      return ExecuteResponse.success();
    }

    @Override
    public List<Integer> getAvailableResourceIds(ObjectModel model) {
      return Arrays.asList(0, 2, 4, 9, 11, 16);
    }
  }

  /** Takes a package in and is updated as object 5 says: idle, downloaded, updating, idle with a result. */
  public static class Firmware extends BaseInstanceEnabler {
    volatile long state = 0;
    volatile long result = 0;

    @Override
    public ReadResponse read(LwM2mServer server, int id) {
      return switch (id) {
        case 3 -> ReadResponse.success(id, state);
        case 5 -> ReadResponse.success(id, result);
        case 9 -> ReadResponse.success(id, 2L);
        default -> ReadResponse.notFound();
      };
    }

    @Override
    public WriteResponse write(LwM2mServer server, boolean replace, int id, LwM2mResource resource) {
      Object value = resource.getValue();
      say("WRITTEN /5/0/" + id + " " + (value instanceof byte[] bytes ? bytes.length + " bytes" : value));
      move(2, 0);
      return WriteResponse.success();
    }

    @Override
    public ExecuteResponse execute(LwM2mServer server, int id, Arguments arguments) {
      if (id != 2 || state != 2) return ExecuteResponse.methodNotAllowed();
      say("EXECUTED /5/0/2");
      move(3, 0);
      // Not before this answer is out: what changes until then is told once.
      new Thread(() -> {
        pause(500);
        move(0, 1);
      }).start();
      return ExecuteResponse.success();
    }

    void move(long toState, long toResult) {
      state = toState;
      result = toResult;
      fireResourceChange(3);
      fireResourceChange(5);
    }

    @Override
    public List<Integer> getAvailableResourceIds(ObjectModel model) {
      return Arrays.asList(0, 1, 2, 3, 5, 9);
    }
  }

  static ResourceModel resource(int id, String name, ResourceModel.Operations may, ResourceModel.Type type) {
    return new ResourceModel(id, name, may, false, false, type, null, null, null);
  }

  public static void main(String[] words) throws Exception {
    String url = words[0];
    String endpoint = words[1];
    byte[] identity = null;
    byte[] key = null;
    int cid = -1;
    long lifetime = 300;
    boolean queue = false;
    boolean bootstrap = false;
    for (int at = 2; at < words.length; at++) {
      switch (words[at]) {
        case "--psk" -> {
          identity = words[++at].getBytes();
          key = Hex.decodeHex(words[++at].toCharArray());
        }
        case "--cid" -> cid = Integer.parseInt(words[++at]);
        case "--lifetime" -> lifetime = Long.parseLong(words[++at]);
        case "--queue" -> queue = true;
        case "--bootstrap" -> bootstrap = true;
        default -> throw new IllegalArgumentException(words[at]);
      }
    }
    List<ObjectModel> models = new ArrayList<>(ObjectLoader.loadAllDefault());
    models.add(
        new ObjectModel(3303, "Temperature", "", "1.1", true, false,
            resource(5700, "Sensor Value", ResourceModel.Operations.R, ResourceModel.Type.FLOAT),
            resource(5701, "Units", ResourceModel.Operations.R, ResourceModel.Type.STRING),
            resource(5605, "Reset", ResourceModel.Operations.E, ResourceModel.Type.NONE),
            resource(5750, "Application Type", ResourceModel.Operations.RW, ResourceModel.Type.STRING)));
    ObjectsInitializer objects = new ObjectsInitializer(new StaticModel(models));
    if (bootstrap) {
      Security security = key == null ? Security.noSecBootstrap(url) : Security.pskBootstrap(url, identity, key);
      objects.setInstancesForObject(LwM2mId.SECURITY, security);
      objects.setClassForObject(LwM2mId.SERVER, Server.class);
    } else {
      Security security = key == null ? Security.noSec(url, 123) : Security.psk(url, 123, identity, key);
      objects.setInstancesForObject(LwM2mId.SECURITY, security);
      objects.setInstancesForObject(LwM2mId.SERVER, new Server(123, lifetime));
    }
    Temperature temperature = new Temperature();
    objects.setInstancesForObject(LwM2mId.DEVICE, new Device());
    objects.setInstancesForObject(LwM2mId.FIRMWARE, new Firmware());
    objects.setInstancesForObject(3303, temperature);
    CaliforniumClientEndpointsProvider.Builder endpoints = new CaliforniumClientEndpointsProvider.Builder(
        new CoapClientProtocolProvider(), new CoapsClientProtocolProvider());
    Configuration configuration = endpoints.createDefaultConfiguration();
    configuration.set(DtlsConfig.DTLS_RECOMMENDED_CIPHER_SUITES_ONLY, false);
    // Firmware is larger than what it takes else.
    configuration.set(CoapConfig.MAX_RESOURCE_BODY_SIZE, 1_048_576);
    if (cid >= 0) configuration.set(DtlsConfig.DTLS_CONNECTION_ID_LENGTH, cid);
    endpoints.setConfiguration(configuration);
    DefaultRegistrationEngineFactory engine = new DefaultRegistrationEngineFactory();
    engine.setReconnectOnUpdate(false);
    engine.setQueueMode(queue);
    LeshanClientBuilder builder = new LeshanClientBuilder(endpoint);
    builder.setObjects(objects.createAll());
    builder.setEndpointsProviders(endpoints.build());
    builder.setDataSenders(new ManualDataSender());
    builder.setRegistrationEngineFactory(engine);
    LeshanClient client = builder.build();
    client.addObserver(new LwM2mClientObserverAdapter() {
      @Override
      public void onBootstrapSuccess(LwM2mServer server, BootstrapRequest request) {
        say("BOOTSTRAPPED");
      }

      @Override
      public void onBootstrapFailure(LwM2mServer server, BootstrapRequest request, ResponseCode code, String message, Exception cause) {
        say("BOOTSTRAP FAILED " + code + " " + message);
      }

      @Override
      public void onRegistrationSuccess(LwM2mServer server, RegisterRequest request, String location) {
        say("REGISTERED " + location);
      }

      @Override
      public void onRegistrationFailure(LwM2mServer server, RegisterRequest request, ResponseCode code, String message, Exception cause) {
        say("REGISTRATION FAILED " + code + " " + message);
      }

      @Override
      public void onRegistrationTimeout(LwM2mServer server, RegisterRequest request) {
        say("REGISTRATION TIMED OUT");
      }

      @Override
      public void onUpdateSuccess(LwM2mServer server, UpdateRequest request) {
        say("UPDATED");
      }

      @Override
      public void onUpdateFailure(LwM2mServer server, UpdateRequest request, ResponseCode code, String message, Exception cause) {
        say("UPDATE FAILED " + code + " " + message);
      }

      @Override
      public void onDeregistrationSuccess(LwM2mServer server, DeregisterRequest request) {
        say("DEREGISTERED");
      }
    });
    client.start();
    BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
    for (String line; (line = input.readLine()) != null; ) {
      String[] told = line.trim().split(" ");
      LwM2mServer server = client.getRegisteredServers().values().stream().findFirst().orElse(null);
      switch (told[0]) {
        case "set" -> temperature.set(Double.parseDouble(told[1]));
        case "update" -> client.triggerRegistrationUpdate();
        case "send" -> say("SENT " + client.getSendService().sendData(server,
            told[1].equals("cbor") ? ContentFormat.SENML_CBOR : ContentFormat.SENML_JSON,
            List.of("/3303/0/5700", "/3/0/2"), 20_000).getCode());
        case "quit" -> {
          client.destroy(true);
          System.exit(0);
        }
        default -> say("? " + line);
      }
    }
    client.destroy(false);
    System.exit(0);
  }
}
