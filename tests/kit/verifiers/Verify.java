import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.InputStreamReader;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.Principal;
import java.security.PrivateKey;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import javax.net.ssl.KeyManager;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLEngineResult;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509ExtendedKeyManager;

/** Makes handshakes in memory by SSLEngine: see tests/kit/verifiers/__init__.py. */
public class Verify {
    static X509Certificate[] decode(String field) throws Exception {
        CertificateFactory factory = CertificateFactory.getInstance("X.509");
        List<X509Certificate> found = new ArrayList<>();
        for (String each : field.split(",")) {
            byte[] der = Base64.getDecoder().decode(each);
            found.add((X509Certificate) factory.generateCertificate(new ByteArrayInputStream(der)));
        }
        return found.toArray(new X509Certificate[0]);
    }

    static class Presenting extends X509ExtendedKeyManager {
        final X509Certificate[] chain;
        final PrivateKey key;

        Presenting(X509Certificate[] chain, PrivateKey key) {
            this.chain = chain;
            this.key = key;
        }

        boolean fits(String type) {
            String own = chain[0].getPublicKey().getAlgorithm();
            return type.startsWith(own) || (own.equals("EdDSA") && type.startsWith("Ed"));
        }

        public String[] getClientAliases(String type, Principal[] issuers) { return null; }

        public String chooseClientAlias(String[] types, Principal[] issuers, Socket socket) { return null; }

        public String[] getServerAliases(String type, Principal[] issuers) { return new String[] {"it"}; }

        public String chooseServerAlias(String type, Principal[] issuers, Socket socket) { return "it"; }

        public String chooseEngineServerAlias(String type, Principal[] issuers, SSLEngine engine) {
            return fits(type) ? "it" : null;
        }

        public X509Certificate[] getCertificateChain(String alias) { return chain; }

        public PrivateKey getPrivateKey(String alias) { return key; }
    }

    static void run(SSLEngine engine) {
        if (engine.getHandshakeStatus() == SSLEngineResult.HandshakeStatus.NEED_TASK) {
            Runnable task;
            while ((task = engine.getDelegatedTask()) != null) task.run();
        }
    }

    /** Moves what one engine has to say to the other. */
    static boolean step(SSLEngine from, ByteBuffer wire, ByteBuffer incoming) throws Exception {
        boolean moved = false;
        ByteBuffer nothing = ByteBuffer.allocate(0);
        ByteBuffer plain = ByteBuffer.allocate(65536);
        for (int round = 0; round < 50; round++) {
            run(from);
            switch (from.getHandshakeStatus()) {
                case NEED_WRAP:
                    from.wrap(nothing, wire);
                    moved = true;
                    break;
                case NEED_UNWRAP:
                case NEED_UNWRAP_AGAIN:
                    incoming.flip();
                    int before = incoming.remaining();
                    SSLEngineResult result;
                    try {
                        result = from.unwrap(incoming, plain);
                    } finally {
                        incoming.compact();
                    }
                    if (result.getStatus() == SSLEngineResult.Status.BUFFER_UNDERFLOW || before == 0) return moved;
                    moved = true;
                    break;
                default:
                    return moved;
            }
        }
        return moved;
    }

    static boolean isDone(SSLEngine engine) {
        return engine.getHandshakeStatus() == SSLEngineResult.HandshakeStatus.NOT_HANDSHAKING;
    }

    static void ask(String line) throws Exception {
        String[] fields = line.split("\t");
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        int number = 0;
        for (X509Certificate each : decode(fields[1])) store.setCertificateEntry("anchor" + number++, each);
        TrustManagerFactory trust = TrustManagerFactory.getInstance("PKIX");
        trust.init(store);
        X509Certificate[] chain = decode(fields[2]);
        PKCS8EncodedKeySpec spec = new PKCS8EncodedKeySpec(Base64.getDecoder().decode(fields[3]));
        PrivateKey key = KeyFactory.getInstance(chain[0].getPublicKey().getAlgorithm()).generatePrivate(spec);
        SSLContext ours = SSLContext.getInstance("TLS");
        ours.init(null, trust.getTrustManagers(), null);
        SSLContext theirs = SSLContext.getInstance("TLS");
        theirs.init(new KeyManager[] {new Presenting(chain, key)}, null, null);
        SSLEngine client = ours.createSSLEngine(fields[0], 443);
        client.setUseClientMode(true);
        SSLParameters parameters = client.getSSLParameters();
        parameters.setEndpointIdentificationAlgorithm("HTTPS");
        client.setSSLParameters(parameters);
        SSLEngine server = theirs.createSSLEngine();
        server.setUseClientMode(false);
        ByteBuffer toServer = ByteBuffer.allocate(1 << 18);
        ByteBuffer toClient = ByteBuffer.allocate(1 << 18);
        client.beginHandshake();
        server.beginHandshake();
        for (int round = 0; round < 20; round++) {
            if (isDone(client)) return;
            boolean moved = step(client, toServer, toClient);
            if (isDone(client)) return;
            moved |= step(server, toClient, toServer);
            if (!moved) throw new Exception("neither side goes on");
        }
        throw new Exception("the handshake does not end");
    }

    static String words(Throwable error) {
        StringBuilder found = new StringBuilder();
        for (Throwable each = error; each != null; each = each.getCause()) {
            found.append(each.getClass().getSimpleName()).append(": ").append(each.getMessage()).append("; ");
        }
        return found.toString().replaceAll("\\s+", " ");
    }

    public static void main(String[] arguments) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        StringBuilder out = new StringBuilder();
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            try {
                ask(line);
                out.append("accepts\n");
            } catch (Exception | StackOverflowError error) {
                out.append("refuses ").append(words(error)).append('\n');
            }
        }
        System.out.write(out.toString().getBytes("UTF-8"));
        System.out.flush();
    }
}
