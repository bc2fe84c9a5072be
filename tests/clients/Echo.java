// The WebSocket client of Java's standard library over TLS: messages of several sizes are echoed,
// and both sides close in order.
//
//   java Echo.java wss://localhost:PORT/echo CA.PEM

import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

public class Echo {
    public static void main(String[] arguments) throws Exception {
        HttpClient client = HttpClient.newBuilder().sslContext(trusting(arguments[1])).build();
        var texts = new LinkedBlockingQueue<String>();
        var closed = new CompletableFuture<Integer>();
        WebSocket socket = client.newWebSocketBuilder()
            .buildAsync(URI.create(arguments[0]), new Listener(texts, closed))
            .get(60, TimeUnit.SECONDS);
        for (int length : new int[] {0, 1, 125, 126, 16_384, 70_000, 300_000}) {
            String text = "x".repeat(length);
            socket.sendText(text, true).get(60, TimeUnit.SECONDS);
            String echoed = texts.poll(60, TimeUnit.SECONDS);
            if (!text.equals(echoed)) {
                throw new AssertionError(length + " characters came back otherwise");
            }
        }
        socket.sendClose(1000, "").get(60, TimeUnit.SECONDS);
        int code = closed.get(60, TimeUnit.SECONDS);
        if (code != 1000) {
            throw new AssertionError("closed with " + code);
        }
    }

    private static SSLContext trusting(String file) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null);
        try (InputStream pem = Files.newInputStream(Path.of(file))) {
            var certificate = CertificateFactory.getInstance("X.509").generateCertificate(pem);
            store.setCertificateEntry("ca", certificate);
        }
        var trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        return context;
    }

    private record Listener(LinkedBlockingQueue<String> texts, CompletableFuture<Integer> closed,
            StringBuilder parts) implements WebSocket.Listener {
        Listener(LinkedBlockingQueue<String> texts, CompletableFuture<Integer> closed) {
            this(texts, closed, new StringBuilder());
        }

        @Override
        public CompletionStage<?> onText(WebSocket socket, CharSequence data, boolean last) {
            parts.append(data);
            if (last) {
                texts.add(parts.toString());
                parts.setLength(0);
            }
            socket.request(1);
            return null;
        }

        @Override
        public CompletionStage<?> onClose(WebSocket socket, int code, String reason) {
            closed.complete(code);
            return null;
        }

        @Override
        public void onError(WebSocket socket, Throwable error) {
            closed.completeExceptionally(error);
        }
    }
}
