import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.Field;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Apache Kafka's command-line tools one after another in this JVM. One JSON line each on stdin,
 * {"class","args","stdin"}, and one on stdout, {"code","text"}.
 */
public class Tools {
    private static class Ended extends Error {
        Ended() {
            super("the tool ended", null, false, false);
        }
    }

    /** System.out for ever, since some tools keep the first one they saw; where it leads changes per run. */
    private static class Redirected extends OutputStream {
        volatile ByteArrayOutputStream to = new ByteArrayOutputStream();

        @Override
        public void write(int b) {
            to.write(b);
        }

        @Override
        public void write(byte[] b, int from, int count) {
            to.write(b, from, count);
        }
    }

    private static volatile Integer code;

    /** Takes the hooks that a tool gave the JVM itself, which would run at its end only. */
    @SuppressWarnings("unchecked")
    private static List<Runnable> ownHooks() throws ReflectiveOperationException {
        Field field = Class.forName("java.lang.ApplicationShutdownHooks").getDeclaredField("hooks");
        field.setAccessible(true);
        List<Runnable> own = new ArrayList<>();
        for (Thread hook : new ArrayList<>(((Map<Thread, Thread>) field.get(null)).keySet())) {
            if (hook.getName().endsWith("-shutdown-hook") && Runtime.getRuntime().removeShutdownHook(hook)) own.add(hook);
        }
        return own;
    }

    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream answers = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        Redirected redirected = new Redirected();
        PrintStream console = new PrintStream(redirected, true, StandardCharsets.UTF_8);
        System.setOut(console);
        System.setErr(console);
        List<Runnable> hooks = Collections.synchronizedList(new ArrayList<>());
        Exit.Procedure end = (status, message) -> {
            if (code == null) code = status;
            if (message != null) console.println(message);
            throw new Ended();
        };
        Exit.setExitProcedure(end);
        Exit.setHaltProcedure(end);
        Exit.setShutdownHookAdder((name, hook) -> hooks.add(hook));
        ObjectMapper json = new ObjectMapper();
        for (String line; (line = in.readLine()) != null; ) {
            JsonNode request = json.readTree(line);
            List<String> words = new ArrayList<>();
            request.get("args").forEach(word -> words.add(word.asText()));
            redirected.to = new ByteArrayOutputStream();
            System.setIn(new ByteArrayInputStream(request.get("stdin").asText().getBytes(StandardCharsets.UTF_8)));
            code = null;
            hooks.clear();
            try {
                Class.forName(request.get("class").asText()).getMethod("main", String[].class)
                    .invoke(null, (Object) words.toArray(new String[0]));
                if (code == null) code = 0;
            } catch (InvocationTargetException e) {
                if (!(e.getCause() instanceof Ended)) {
                    e.getCause().printStackTrace(console);
                    if (code == null) code = 1;
                }
            } catch (Exception | LinkageError e) {
                e.printStackTrace(console);
                if (code == null) code = 1;
            }
            hooks.addAll(ownHooks());
            for (Runnable hook : new ArrayList<>(hooks)) {
                try {
                    hook.run();
                } catch (RuntimeException | Ended e) {
                    console.println(e);
                }
            }
            console.flush();
            String text = redirected.to.toString(StandardCharsets.UTF_8);
            answers.println(json.writeValueAsString(Map.of("code", code, "text", text)));
        }
    }
}
