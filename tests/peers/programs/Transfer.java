// Uploads and downloads one file with Java's HttpClient: Transfer 1|2 URL SOURCE TARGET CA.
import java.io.FileInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

public class Transfer {
    public static void main(String[] arguments) throws Exception {
        HttpClient client = HttpClient.newBuilder()
            .version(arguments[0].equals("2") ? HttpClient.Version.HTTP_2 : HttpClient.Version.HTTP_1_1)
            .sslContext(trusting(arguments[4]))
            .build();
        URI uri = URI.create(arguments[1]);
        HttpRequest put = HttpRequest.newBuilder(uri)
            .PUT(HttpRequest.BodyPublishers.ofFile(Path.of(arguments[2]))).build();
        check(client.send(put, HttpResponse.BodyHandlers.discarding()));
        HttpRequest get = HttpRequest.newBuilder(uri).build();
        check(client.send(get, HttpResponse.BodyHandlers.ofFile(Path.of(arguments[3]))));
    }

    private static SSLContext trusting(String file) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (FileInputStream stream = new FileInputStream(file)) {
            store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(stream));
        }
        TrustManagerFactory managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        managers.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, managers.getTrustManagers(), null);
        return context;
    }

    private static void check(HttpResponse<?> response) {
        if (response.statusCode() / 100 != 2) {
            throw new IllegalStateException(response.toString());
        }
    }
}
